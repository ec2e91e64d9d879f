// Definitions of progress.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include <unistd.h>

#include <lodestone/core/inline.hpp>
#include <lodestone/eval/progress.hpp>
#include <lodestone/train/recorders/format.hpp>

namespace lodestone::eval {

LODESTONE_INLINE progress_line::progress_line(std::FILE* stream, std::size_t lines)
    : stream_(stream), lines_(std::max<std::size_t>(lines, 1)) {
  const char* kind = std::getenv("TERM");
  is_terminal_ = isatty(fileno(stream)) == 1 && (kind == nullptr || std::string_view(kind) != "dumb");
}

LODESTONE_INLINE std::string progress_line::text_of(const run_progress& event, std::size_t reused) {
  std::string text(event.task);
  text += ": " + std::to_string(event.done);
  text += event.questions > 0 ? " of " + std::to_string(event.questions) : " done";
  const std::size_t own = event.done - reused;
  if (reused > 0 && own == 0) text += ", " + std::to_string(reused) + " of them from before";
  if (own > 0 && event.seconds > 0.0) {
    const double rate = static_cast<double>(own) / event.seconds;
    text += ", " + format_number(rate, 3) + "/s";
    if (event.done < event.questions)
      text += ", " + format_duration(static_cast<double>(event.questions - event.done) / rate) + " left";
  }
  if (event.failed > 0) text += ", " + std::to_string(event.failed) + " failed";
  return text;
}

LODESTONE_INLINE void progress_line::operator()(const run_progress& event) {
  const bool is_first = event.task != task_;
  if (is_first) {
    task_ = event.task;
    reused_ = reported_ = event.done;
  }
  const bool is_last = event.done == event.questions && event.done > 0;
  // Of an unknown number: a line whenever it has doubled.
  const std::size_t every = std::max<std::size_t>(1, event.questions > 0 ? event.questions / lines_ : reported_);
  if (is_terminal_) {
    std::fprintf(stream_, "\r\033[K%s%s", text_of(event, reused_).c_str(), is_last ? "\n" : "");
  } else if (is_first || is_last || event.done >= reported_ + every) {
    std::fprintf(stream_, "%s\n", text_of(event, reused_).c_str());
    reported_ = event.done;
  }
  std::fflush(stream_);
}

}  // namespace lodestone::eval
