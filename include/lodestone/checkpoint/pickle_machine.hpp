// A pickle interpreter that can build a dictionary of tensors and nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <lodestone/core/dtype.hpp>
#include <lodestone/core/error.hpp>

namespace lodestone::pickle {

namespace detail {

/// The three lines of Python that turn a .bin file into one that is safe to read.
[[nodiscard]] std::string conversion(const std::filesystem::path& file);

enum class kind : std::uint8_t { none, boolean, integer, real, text, global, sequence, dictionary, storage, tensor };

/// A value on the stack. Values refer to each other by index, so hostile nesting costs no recursion.
struct node {
  detail::kind kind = kind::none;
  std::int64_t integer = 0;  ///< boolean, integer; first element of a tensor in its storage
  std::string_view text;     ///< text; "module.name" lies in `owned`; key of a storage
  std::string owned;
  dtype type = dtype::f32;            ///< storage, tensor
  std::vector<std::uint32_t> items;   ///< sequence; dictionary: keys and values in turn; tensor: its storage
  std::vector<std::int64_t> shape;    ///< tensor
  std::vector<std::int64_t> strides;  ///< tensor
};

/// Runs a pickle that builds a dictionary of tensors. Nothing but the tables below decides what can happen: a global
/// outside them, or an opcode outside the switch, is an error.
class machine {
 public:
  machine(std::span<const std::byte> program, const std::filesystem::path& file);

  /// Index of the result.
  [[nodiscard]] std::uint32_t run();

  [[nodiscard]] const node& at(std::uint32_t index) const { return nodes_[index]; }

  [[nodiscard]] std::string_view text_of(std::uint32_t index) const;

  [[noreturn]] void refuse(const std::string& what) const;

 private:
  [[nodiscard]] std::span<const std::byte> take(std::uint64_t count);
  template <class Number>
  [[nodiscard]] Number number() {
    Number value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  [[nodiscard]] std::string_view line();

  [[nodiscard]] node& make(detail::kind kind);
  void push(const node&);
  void push_integer(std::int64_t value, detail::kind kind = kind::integer);
  void push_long(std::size_t bytes);
  void push_text(std::uint64_t size);
  void push_sequence(std::vector<std::uint32_t> items);
  void push_global(std::string_view module, std::string_view name);

  [[nodiscard]] std::size_t floor() const;
  [[nodiscard]] std::uint32_t top() const;
  [[nodiscard]] std::uint32_t pop();
  [[nodiscard]] std::vector<std::uint32_t> take_last(std::size_t count);
  [[nodiscard]] std::vector<std::uint32_t> take_to_mark();
  void recall(std::uint32_t key);
  void extend(detail::kind kind, const std::vector<std::uint32_t>& items);

  /// ('storage', type, key, location, elements): a view of the archive's entry data/KEY.
  void push_storage(std::uint32_t index);

  [[nodiscard]] std::vector<std::int64_t> sizes_of(std::uint32_t index) const;

  [[nodiscard]] const node& call(std::uint32_t function, std::uint32_t arguments);

  std::span<const std::byte> program_;
  const std::filesystem::path& file_;
  std::vector<node> nodes_;
  std::vector<std::uint32_t> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, std::uint32_t> memo_;
};

}  // namespace detail

}  // namespace lodestone::pickle

#ifndef LODESTONE_COMPILED
#include <lodestone/checkpoint/pickle_machine.ipp>
#endif
