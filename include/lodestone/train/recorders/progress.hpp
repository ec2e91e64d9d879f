// A progress bar on a terminal, plain lines everywhere else.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <sys/ioctl.h>
#include <unistd.h>

#include <lodestone/train/recorder.hpp>
#include <lodestone/train/recorders/format.hpp>

namespace lodestone {

/// Writes what happens to a stream, standard error by default (standard output is for results).
///
/// On a terminal one line is redrawn after every step: bar, loss, learning rate, gradient norm, tokens a second, time
/// left. Elsewhere (a file, a pipe, TERM=dumb) each report is a line of its own without control characters, and steps
/// that pass quickly are reported about `lines` times in a run, and every 30 seconds. The time left is what the
/// remaining steps take at the mean of the recent ones (an average whose memory is 20 steps).
class progress_recorder {
 public:
  enum class style : std::uint8_t { automatic, bar, lines };

  explicit progress_recorder(std::FILE* stream = stderr, style look = style::automatic, std::int64_t lines = 100)
      : stream_(stream), lines_(std::max<std::int64_t>(1, lines)),
        bar_(look == style::bar || (look == style::automatic && is_terminal(stream))) {}

  void record(const run_started& event) {
    first_ = event.resumed_step;
    std::string text = event.title.empty() ? "training" : event.title;
    text += ": " + format_count(event.steps) + " steps";
    if (event.parameters > 0) text += ", " + format_short(static_cast<double>(event.parameters)) + " parameters";
    if (!event.lengths.empty()) text += ", " + format_count(std::ssize(event.lengths)) + " examples";
    if (event.ranks > 1) text += ", " + std::to_string(event.ranks) + " ranks";
    if (event.resumed_step > 0) text += ", resumed after step " + format_count(event.resumed_step);
    print(text);
  }

  void record(const step_record& event) {
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

  void record(const evaluation_record& event) {
    print("step " + format_count(event.step) + "  " + event.name + " loss " + format_fixed(event.loss, 4) +
          "  per token " + format_fixed(event.token_loss, 4) + "  " + format_count(event.targets) + " targets in " +
          format_duration(event.seconds) + (event.best ? "  best so far" : ""));
  }

  void record(const message& event) {
    print(event.level == message_level::note ? event.text : std::string(to_string(event.level)) + ": " + event.text);
  }

  void record(const run_finished& event) {
    std::string text = std::string(to_string(event.outcome)) + " after step " + format_count(event.step) + " of " +
                       format_count(event.steps) + ", " + format_duration(event.seconds);
    if (event.seconds > 0.0 && event.tokens > 0)
      text += ", " + format_short(static_cast<double>(event.tokens) / event.seconds) + " tokens/s over all";
    print(text);
    if (!event.text.empty()) print(event.text);
  }

 private:
  [[nodiscard]] static bool is_terminal(std::FILE* stream) {
    const char* kind = std::getenv("TERM");
    return isatty(fileno(stream)) == 1 && kind != nullptr && std::string_view(kind) != "dumb";
  }

  [[nodiscard]] double weight() const { return std::max(1.0 / 20.0, 1.0 / static_cast<double>(counted_)); }

  [[nodiscard]] std::string details(const step_record& event) const {
    std::string text = "  loss " + format_fixed(event.loss, 4) + "  lr " + format_number(event.learning_rate, 3) +
                       "  |g| " + format_number(event.gradient_norm, 3);
    if (unreported_seconds_ > 0.0)
      text += "  " + format_short(static_cast<double>(unreported_tokens_) / unreported_seconds_) + " tok/s";
    if (event.step < event.steps)
      text += "  ETA " + format_duration(mean_seconds_ * static_cast<double>(event.steps - event.step));
    if (event.skipped) text += "  update skipped: not finite";
    return text;
  }

  [[nodiscard]] std::string bar_line(const step_record& event) const {
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

  // "\r" and "erase to the end of the line" are the only control codes.
  void draw(const std::string& text) {
    write("\r" + text + "\x1b[K");
    line_open_ = true;
  }
  void finish_line() {
    if (line_open_) write("\n");
    line_open_ = false;
  }
  void print(const std::string& text) {
    write((line_open_ ? "\r\x1b[K" : "") + text + "\n");
    line_open_ = false;
  }
  void write(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stream_);  // a closed terminal is no reason to end a training run
    std::fflush(stream_);
  }

  std::FILE* stream_;
  std::int64_t lines_;
  bool bar_;
  bool line_open_ = false;
  std::int64_t first_ = 0;
  std::int64_t counted_ = 0;
  double mean_seconds_ = 0.0;
  double elapsed_ = 0.0;
  double reported_ = 0.0;
  std::int64_t unreported_tokens_ = 0;
  double unreported_seconds_ = 0.0;
};

static_assert(recorder<progress_recorder>);

}  // namespace lodestone
