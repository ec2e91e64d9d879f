// The wire format of protocol buffers, as far as reading a message needs it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <lodestone/core/error.hpp>

namespace lodestone::text {

/// Walks through the fields of one message. All members throw format_error, with `where`, on malformed input.
class protobuf_reader {
 public:
  /// Stands before the first field. `message` must outlive the reader and what bytes() returns; `where` is copied.
  protobuf_reader(std::string_view message, std::string_view where) : rest_(message), where_(where) {}

  /// Goes to the next field; false at the end of the message.
  bool next() {
    if (rest_.empty()) return false;
    const std::uint64_t tag = variable();
    field_ = tag >> 3;
    if (field_ == 0) fail();
    type_ = static_cast<int>(tag & 7U);
    switch (type_) {
      case 0: number_ = variable(); break;
      case 1: number_ = fixed(8); break;
      case 2: {
        const std::uint64_t size = variable();
        if (size > rest_.size()) fail();
        bytes_ = rest_.substr(0, static_cast<std::size_t>(size));
        rest_.remove_prefix(bytes_.size());
        break;
      }
      case 5: number_ = fixed(4); break;
      default: fail();
    }
    return true;
  }

  /// The number of the current field; 0 before the first next().
  [[nodiscard]] std::uint64_t field() const { return field_; }
  [[nodiscard]] std::string_view bytes() const { return expect(2), bytes_; }  ///< of a string or an embedded message
  /// The value of a varint field.
  [[nodiscard]] std::int64_t integer() const { return expect(0), static_cast<std::int64_t>(number_); }
  /// Whether a varint field is not 0.
  [[nodiscard]] bool flag() const { return integer() != 0; }
  /// The value of a 32-bit field, a float.
  [[nodiscard]] float real() const { return expect(5), std::bit_cast<float>(static_cast<std::uint32_t>(number_)); }

 private:
  void expect(int type) const {
    if (type_ != type) fail();
  }
  [[noreturn]] void fail() const {
    throw format_error("this is not the protocol buffer of a SentencePiece model, or it is cut off", where_,
                       "fetch the file again; a tokenizer.model in another format needs its tokenizer.json");
  }
  std::uint64_t variable() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) fail();
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
    fail();
  }
  std::uint64_t fixed(std::size_t size) {
    if (rest_.size() < size) fail();
    std::uint64_t value = 0;
    for (std::size_t i = size; i-- > 0;) value = value << 8 | static_cast<unsigned char>(rest_[i]);
    rest_.remove_prefix(size);
    return value;
  }

  std::string_view rest_;
  std::string where_;
  std::uint64_t field_ = 0;
  int type_ = 0;
  std::uint64_t number_ = 0;
  std::string_view bytes_;
};

}  // namespace lodestone::text
