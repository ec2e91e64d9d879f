// Definitions of progress.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cstdlib>
#include <string_view>

#include <sys/ioctl.h>
#include <unistd.h>

#include <lodestone/core/inline.hpp>
#include <lodestone/train/recorders/format.hpp>
#include <lodestone/train/recorders/progress.hpp>

namespace lodestone {

LODESTONE_INLINE progress_recorder::progress_recorder(std::FILE* stream, style look, std::int64_t lines)
    : stream_(stream),
      lines_(std::max<std::int64_t>(1, lines)),
      bar_(look == style::bar || (look == style::automatic && is_terminal(stream))) {}

LODESTONE_INLINE void progress_recorder::record(const run_started& event) {
  first_ = event.resumed_step;
  std::string text = event.title.empty() ? "training" : event.title;
  text += ": " + format_count(event.steps) + " steps";
  if (event.parameters > 0) text += ", " + format_short(static_cast<double>(event.parameters)) + " parameters";
  if (!event.lengths.empty()) text += ", " + format_count(std::ssize(event.lengths)) + " examples";
  if (event.ranks > 1) text += ", " + std::to_string(event.ranks) + " ranks";
  if (event.resumed_step > 0) text += ", resumed after step " + format_count(event.resumed_step);
  print(text);
}

LODESTONE_INLINE void progress_recorder::record(const step_record& event) {
  // The first step of a process is slower (pages, caches): it weighs in only until others exist.
  mean_seconds_ = counted_ <= 1 ? event.seconds : mean_seconds_ + (event.seconds - mean_seconds_) * weight();
  ++counted_;
  elapsed_ += event.seconds;
  unreported_tokens_ += event.tokens;
  unreported_seconds_ += event.seconds;
  const bool last = event.step >= event.steps;
  if (bar_) {
    draw(bar_line(event));
    unreported_tokens_ = 0;
    unreported_seconds_ = 0.0;
    if (last) finish_line();
    return;
  }
  const std::int64_t stride = std::max<std::int64_t>(1, event.steps / lines_);
  if (!last && event.step != first_ + 1 && event.step % stride != 0 && elapsed_ - reported_ < 30.0) return;
  reported_ = elapsed_;
  print("step " + format_count(event.step) + "/" + format_count(event.steps) + details(event));
  unreported_tokens_ = 0;
  unreported_seconds_ = 0.0;
}

LODESTONE_INLINE void progress_recorder::record(const evaluation_record& event) {
  print("step " + format_count(event.step) + "  " + event.name + " loss " + format_fixed(event.loss, 4) +
        "  per token " + format_fixed(event.token_loss, 4) + "  " + format_count(event.targets) + " targets in " +
        format_duration(event.seconds) + (event.best ? "  best so far" : ""));
  if (event.preference.groups > 0)
    print("step " + format_count(event.step) + "  " + event.name + " accuracy " +
          format_fixed(event.preference.accuracy, 3) + "  margin " + format_fixed(event.preference.margin, 4) +
          "  rewards " + format_fixed(event.preference.chosen_reward, 4) + " / " +
          format_fixed(event.preference.rejected_reward, 4) + "  " + format_count(event.preference.groups) + " groups");
}

LODESTONE_INLINE void progress_recorder::record(const message& event) {
  print(event.level == message_level::note ? event.text : std::string(to_string(event.level)) + ": " + event.text);
}

LODESTONE_INLINE void progress_recorder::record(const run_finished& event) {
  std::string text = std::string(to_string(event.outcome)) + " after step " + format_count(event.step) + " of " +
                     format_count(event.steps) + ", " + format_duration(event.seconds);
  if (event.seconds > 0.0 && event.tokens > 0)
    text += ", " + format_short(static_cast<double>(event.tokens) / event.seconds) + " tokens/s over all";
  print(text);
  if (!event.text.empty()) print(event.text);
}

LODESTONE_INLINE bool progress_recorder::is_terminal(std::FILE* stream) {
  const char* kind = std::getenv("TERM");
  return isatty(fileno(stream)) == 1 && kind != nullptr && std::string_view(kind) != "dumb";
}

LODESTONE_INLINE std::string progress_recorder::details(const step_record& event) const {
  std::string text = "  loss " + format_fixed(event.loss, 4) + "  lr " + format_number(event.learning_rate, 3) +
                     "  |g| " + format_number(event.gradient_norm, 3);
  if (event.preference.groups > 0)
    text += "  margin " + format_fixed(event.preference.margin, 3) + "  accuracy " +
            format_fixed(event.preference.accuracy, 2);
  if (unreported_seconds_ > 0.0)
    text += "  " + format_short(static_cast<double>(unreported_tokens_) / unreported_seconds_) + " tok/s";
  if (event.step < event.steps)
    text += "  ETA " + format_duration(mean_seconds_ * static_cast<double>(event.steps - event.step));
  if (event.skipped) text += "  update skipped: not finite";
  return text;
}

LODESTONE_INLINE std::string progress_recorder::bar_line(const step_record& event) const {
  constexpr std::int64_t cells = 24;
  const std::int64_t steps = std::max<std::int64_t>(1, event.steps);
  const std::int64_t filled = std::clamp<std::int64_t>(cells * event.step / steps, 0, cells);
  std::string text = "[" + std::string(static_cast<std::size_t>(filled), '#') +
                     std::string(static_cast<std::size_t>(cells - filled), '.') + "] " + format_count(event.step) +
                     "/" + format_count(event.steps) + details(event);
  winsize size{};  // read at every step: windows are resized
  if (ioctl(fileno(stream_), TIOCGWINSZ, &size) == 0 && size.ws_col > 8 && text.size() >= size.ws_col)
    text.resize(size.ws_col - std::size_t{1});  // a wrapped line could not be redrawn
  return text;
}

LODESTONE_INLINE void progress_recorder::draw(const std::string& text) {
  write("\r" + text + "\x1b[K");
  line_open_ = true;
}

LODESTONE_INLINE void progress_recorder::finish_line() {
  if (line_open_) write("\n");
  line_open_ = false;
}

LODESTONE_INLINE void progress_recorder::print(const std::string& text) {
  write((line_open_ ? "\r\x1b[K" : "") + text + "\n");
  line_open_ = false;
}

LODESTONE_INLINE void progress_recorder::write(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stream_);  // a closed terminal is no reason to end a training run
  std::fflush(stream_);
}

}  // namespace lodestone

