// TensorBoard event files, written without TensorFlow or protobuf: TFRecord frames around hand-encoded Event messages.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include <lodestone/core/file.hpp>
#include <lodestone/train/recorder.hpp>

namespace lodestone {

namespace detail {

/// CRC-32C (Castagnoli polynomial, reflected 0x82F63B78), byte by byte from a table.
[[nodiscard]] constexpr std::uint32_t crc32c(std::string_view bytes) {
  constexpr auto table = [] {
    std::array<std::uint32_t, 256> entries{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1U) != 0 ? 0x82F63B78U : 0U);
      entries[i] = value;
    }
    return entries;
  }();
  std::uint32_t crc = 0xffff'ffffU;
  for (const char c : bytes) crc = table[(crc ^ static_cast<unsigned char>(c)) & 0xffU] ^ (crc >> 8);
  return crc ^ 0xffff'ffffU;
}

/// The protocol-buffer wire format, as far as an Event needs it.
class protobuf {
 public:
  void varint(int field, std::uint64_t value);
  void fixed64(int field, double value);
  void fixed32(int field, float value);
  void bytes(int field, std::string_view value);
  void message(int field, const protobuf& value) { bytes(field, value.bytes_); }
  [[nodiscard]] const std::string& text() const { return bytes_; }

 private:
  void raw_varint(std::uint64_t value);
  std::string bytes_;
};

}  // namespace detail

/// Writes scalars (and the settings as text) for TensorBoard into `folder`, one event file per process.
///
/// Tags: train/loss, train/learning_rate, train/gradient_norm, train/tokens_per_second, train/epoch, NAME/loss,
/// NAME/token_loss and NAME/loss_by_position/BEGIN-END for every held-out set. A resumed run starts a new file with a
/// session mark, which makes TensorBoard drop the points after the resumed step. Each event is written whole.
class tensorboard_recorder {
 public:
  /// Made with its event file by the first event.
  explicit tensorboard_recorder(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// Appends one record, after run_started up to three (session mark and settings). Throws io_error.
  ///@{
  void record(const run_started& event);

  void record(const step_record& event);

  void record(const evaluation_record& event);
  ///@}

 private:
  // Event: 1 wall_time, 2 step, 3 file_version, 5 summary, 7 session_log. Summary: 1 value.
  // Value: 1 tag, 2 simple_value.
  [[nodiscard]] static detail::protobuf start(std::int64_t step);

  static void add(detail::protobuf& summary, const std::string& tag, double value);
  static void add(detail::protobuf& summary, const std::string& name, const preference_summary& preference);

  void write_summary(std::int64_t step, const detail::protobuf& summary);

  [[nodiscard]] static std::string cell(std::string_view text);

  void open();

  void write(const detail::protobuf& event);

  std::filesystem::path folder_;
  std::filesystem::path name_;
  detail::descriptor handle_;
};

static_assert(recorder<tensorboard_recorder>);

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/train/recorders/tensorboard.ipp>
#endif
