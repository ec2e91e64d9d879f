// Definitions of tensorboard.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstring>
#include <span>

#include <fcntl.h>
#include <unistd.h>

#include <lodestone/core/inline.hpp>
#include <lodestone/train/recorders/tensorboard.hpp>

namespace lodestone {

namespace detail {

/// TFRecord stores checksums rotated and offset, because data that holds its own checksum weakens a CRC.
[[nodiscard]] constexpr std::uint32_t masked_crc32c(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

/// Little-endian bytes of a fixed-width number.
template <class T>
void append_fixed(std::string& out, T value) {
  std::array<char, sizeof(T)> bytes{};
  std::memcpy(bytes.data(), &value, sizeof(T));  // x86 and arm64 are little-endian
  out.append(bytes.data(), bytes.size());
}

LODESTONE_INLINE void protobuf::varint(int field, std::uint64_t value) {
  raw_varint(static_cast<std::uint64_t>(field) << 3);
  raw_varint(value);
}

LODESTONE_INLINE void protobuf::fixed64(int field, double value) {
  raw_varint((static_cast<std::uint64_t>(field) << 3) | 1U);
  append_fixed(bytes_, value);
}

LODESTONE_INLINE void protobuf::fixed32(int field, float value) {
  raw_varint((static_cast<std::uint64_t>(field) << 3) | 5U);
  append_fixed(bytes_, value);
}

LODESTONE_INLINE void protobuf::bytes(int field, std::string_view value) {
  raw_varint((static_cast<std::uint64_t>(field) << 3) | 2U);
  raw_varint(value.size());
  bytes_.append(value);
}

LODESTONE_INLINE void protobuf::raw_varint(std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>((value & 0x7fU) | 0x80U);
  bytes_ += static_cast<char>(value);
}

/// One TFRecord: length, masked CRC of the length, data, masked CRC of the data.
[[nodiscard]] inline std::string tfrecord(std::string_view data) {
  std::string out;
  append_fixed(out, static_cast<std::uint64_t>(data.size()));
  append_fixed(out, masked_crc32c(out));
  out.append(data);
  append_fixed(out, masked_crc32c(data));
  return out;
}

}  // namespace detail

LODESTONE_INLINE void tensorboard_recorder::record(const run_started& event) {
  open();
  if (event.resumed_step > 0) {
    detail::protobuf session;
    session.varint(1, 1);  // SessionLog.status = START
    detail::protobuf mark = start(event.resumed_step + 1);  // points at this step and later are dropped
    mark.message(7, session);
    write(mark);
  }
  if (event.settings.empty()) return;
  std::string table = "| setting | value |\n|---|---|\n";
  for (const setting& s : event.settings) table += "| " + cell(s.key) + " | " + cell(s.value) + " |\n";
  detail::protobuf plugin;
  plugin.bytes(1, "text");
  detail::protobuf metadata;
  metadata.message(1, plugin);  // SummaryMetadata.plugin_data
  detail::protobuf tensor;
  tensor.varint(1, 7);  // DT_STRING
  tensor.message(2, detail::protobuf{});  // a scalar's shape is empty
  tensor.bytes(8, table);
  detail::protobuf value;
  value.bytes(1, "settings");
  value.message(9, metadata);
  value.message(8, tensor);
  detail::protobuf summary;
  summary.message(1, value);
  detail::protobuf e = start(event.resumed_step);
  e.message(5, summary);
  write(e);
}

LODESTONE_INLINE void tensorboard_recorder::record(const step_record& event) {
  detail::protobuf summary;
  add(summary, "train/loss", event.loss);
  add(summary, "train/learning_rate", event.learning_rate);
  add(summary, "train/gradient_norm", event.gradient_norm);
  add(summary, "train/tokens_per_second", event.tokens_per_second());
  add(summary, "train/epoch", event.epoch);
  add(summary, "train", event.preference);
  write_summary(event.step, summary);
}

LODESTONE_INLINE void tensorboard_recorder::record(const evaluation_record& event) {
  detail::protobuf summary;
  add(summary, event.name + "/loss", event.loss);
  add(summary, event.name + "/token_loss", event.token_loss);
  for (const position_bucket& b : event.buckets)
    if (b.targets > 0)
      add(summary, event.name + "/loss_by_position/" + std::to_string(b.begin) + "-" + std::to_string(b.end), b.loss);
  add(summary, event.name, event.preference);
  write_summary(event.step, summary);
}

LODESTONE_INLINE void tensorboard_recorder::add(detail::protobuf& summary, const std::string& name,
                                                const preference_summary& preference) {
  if (preference.groups == 0) return;
  add(summary, name + "/rewards/chosen", preference.chosen_reward);
  add(summary, name + "/rewards/rejected", preference.rejected_reward);
  add(summary, name + "/rewards/margins", preference.margin);
  add(summary, name + "/rewards/accuracies", preference.accuracy);
  add(summary, name + "/logps/chosen", preference.chosen_log_prob);
  add(summary, name + "/logps/rejected", preference.rejected_log_prob);
  add(summary, name + "/sft", preference.sft);
}

LODESTONE_INLINE detail::protobuf tensorboard_recorder::start(std::int64_t step) {
  detail::protobuf event;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  event.fixed64(1, std::chrono::duration<double>(now).count());
  event.varint(2, static_cast<std::uint64_t>(step));
  return event;
}

LODESTONE_INLINE void tensorboard_recorder::add(detail::protobuf& summary, const std::string& tag, double value) {
  detail::protobuf entry;
  entry.bytes(1, tag);
  entry.fixed32(2, static_cast<float>(value));
  summary.message(1, entry);
}

LODESTONE_INLINE void tensorboard_recorder::write_summary(std::int64_t step, const detail::protobuf& summary) {
  detail::protobuf event = start(step);
  event.message(5, summary);
  write(event);
}

LODESTONE_INLINE std::string tensorboard_recorder::cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

LODESTONE_INLINE void tensorboard_recorder::open() {
  std::error_code failure;
  std::filesystem::create_directories(folder_, failure);
  if (failure) throw io_error("cannot create the folder: " + failure.message(), folder_.string());
  // TensorBoard reads the files of a folder in the order of their names: the time comes first, then a count.
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0 || host[0] == '\0') std::strcpy(host.data(), "localhost");
  for (int count = 0; !handle_; ++count) {
    std::string digits = std::to_string(seconds);
    digits.insert(0, digits.size() < 10 ? 10 - digits.size() : 0, '0');
    name_ = folder_ / ("events.out.tfevents." + digits + "." + host.data() + "." + std::to_string(getpid()) + "." +
                       std::to_string(count));
    handle_ = detail::descriptor(::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666));
    if (!handle_ && (errno != EEXIST || count > 1000)) detail::throw_errno("cannot create", name_);
  }
  detail::protobuf version = start(0);
  version.bytes(3, "brain.Event:2");
  write(version);
}

LODESTONE_INLINE void tensorboard_recorder::write(const detail::protobuf& event) {
  if (!handle_) open();
  const std::string record = detail::tfrecord(event.text());
  detail::write_all(handle_.get(), std::as_bytes(std::span(record.data(), record.size())), -1, name_);
}

}  // namespace lodestone

