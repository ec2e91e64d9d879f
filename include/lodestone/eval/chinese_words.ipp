// Definitions of chinese_words.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <limits>
#include <utility>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/answer_text.hpp>
#include <lodestone/eval/chinese_words.hpp>

namespace lodestone::eval {

namespace detail {

inline constexpr double never = -3.14e100;  // jieba's logarithm of a probability of 0

/// The numbers of a Python file "P={...}": a dictionary of numbers, or of dictionaries of numbers, by one character.
class python_numbers {
 public:
  python_numbers(std::string text, std::string file) : text_(std::move(text)), file_(std::move(file)) {
    const std::size_t at = text_.find("P={");
    if (at == std::string::npos) fail("there is no \"P={\"");
    at_ = at + 3;
  }

  /// Calls entry(key) for each key of the dictionary that the place is in; entry reads the value.
  template <class Entry>
  void each(const Entry& entry) {
    while (true) {
      skip();
      if (take('}')) return;
      const char32_t key = read_key();
      skip();
      expect(':');
      skip();
      entry(key);
      skip();
      if (take(',')) continue;
      expect('}');
      return;
    }
  }
  [[nodiscard]] double number() {
    double value = 0.0;
    const auto [end, failure] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (failure != std::errc{}) fail("a number is missing");
    at_ = static_cast<std::size_t>(end - text_.data());
    return value;
  }
  void enter() { expect('{'); }

  [[noreturn]] void fail(const std::string& what) const {
    const auto line =
        1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(std::min(at_, text_.size())), '\n');
    throw format_error(what, file_ + ":" + std::to_string(line), "use the files of the package jieba 0.42.1");
  }

 private:
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail(std::string("'") + c + "' is missing");
  }
  [[nodiscard]] char32_t read_key() {
    expect('\'');
    const std::size_t end = text_.find('\'', at_);
    if (end == std::string::npos) fail("a key is not closed");
    const std::string_view key = std::string_view(text_).substr(at_, end - at_);
    char32_t result = 0;
    if (key.starts_with("\\u") && key.size() == 6) {
      std::uint32_t value = 0;
      const auto [last, failure] = std::from_chars(key.data() + 2, key.data() + 6, value, 16);
      if (failure != std::errc{} || last != key.data() + 6) fail("a key is no character");
      result = value;
    } else {
      const std::u32string points = code_points(key);
      if (points.size() != 1) fail("a key is no single character");
      result = points.front();
    }
    at_ = end + 1;
    return result;
  }

  std::string text_;
  std::string file_;
  std::size_t at_ = 0;
};

[[nodiscard]] inline std::string text_of_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    throw io_error("cannot be read", file.string(),
                   "name the folder of the package jieba, or a copy of its dict.txt and finalseg");
  }
  return {std::istreambuf_iterator<char>(stream), {}};
}

[[nodiscard]] inline std::size_t state_of(char32_t name, const python_numbers& place) {
  const std::size_t at = std::u32string_view(U"BEMS").find(name);
  if (at == std::u32string_view::npos) place.fail("a state is not one of B, E, M and S");
  return at;
}

[[nodiscard]] inline bool is_han(char32_t c) { return c >= 0x4E00 && c <= 0x9FD5; }
[[nodiscard]] inline bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }
[[nodiscard]] inline bool is_latin(char32_t c) {
  return is_digit(c) || (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z');
}
/// What the dictionary is asked about.
[[nodiscard]] inline bool is_in_run(char32_t c) {
  return is_han(c) || is_latin(c) || std::u32string_view(U"+#&._%-").find(c) != std::u32string_view::npos;
}

/// The end of the number or Latin word at `begin`: letters and digits, a decimal fraction, a percent sign.
[[nodiscard]] inline std::size_t latin_end(std::u32string_view text, std::size_t begin) {
  std::size_t end = begin;
  while (end < text.size() && is_latin(text[end])) ++end;
  if (end + 1 < text.size() && text[end] == U'.' && is_digit(text[end + 1])) {
    ++end;
    while (end < text.size() && is_digit(text[end])) ++end;
  }
  if (end < text.size() && text[end] == U'%') ++end;
  return end;
}

}  // namespace detail

LODESTONE_INLINE chinese_words chinese_words::load(const std::filesystem::path& folder) {
  model result;
  const std::filesystem::path dictionary = folder / "dict.txt";
  const std::string lines = detail::text_of_file(dictionary);
  std::int64_t total = 0;
  std::size_t number = 0;
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    std::string_view line = std::string_view(lines).substr(at, end - at);
    at = end + 1;
    ++number;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    const std::size_t space = line.find(' ');
    std::int64_t count = -1;
    if (space != std::string_view::npos) {
      const std::string_view rest = line.substr(space + 1);
      const auto [last, failure] = std::from_chars(rest.data(), rest.data() + rest.size(), count);
      if (failure != std::errc{} || (last != rest.data() + rest.size() && *last != ' ')) count = -1;
    }
    if (space == 0 || count < 0) {
      throw format_error("this line is not a word and its frequency",
                         dictionary.string() + ":" + std::to_string(number),
                         "use the dictionary of the package jieba 0.42.1");
    }
    const std::u32string word = code_points(line.substr(0, space));
    result.frequencies[word] = count;
    total += count;
    for (std::size_t i = 1; i < word.size(); ++i) result.frequencies.try_emplace(word.substr(0, i), 0);
  }
  if (total == 0)
    throw format_error("there are no words", dictionary.string(), "use the dictionary of the package jieba");
  result.log_total = std::log(static_cast<double>(total));

  const auto open = [&](const char* name) {
    const std::filesystem::path file = folder / "finalseg" / name;
    return detail::python_numbers(detail::text_of_file(file), file.string());
  };
  result.start.fill(detail::never);
  for (auto& row : result.step) row.fill(detail::never);
  detail::python_numbers start = open("prob_start.py");
  start.each([&](char32_t state) { result.start[detail::state_of(state, start)] = start.number(); });
  detail::python_numbers step = open("prob_trans.py");
  step.each([&](char32_t from) {
    auto& row = result.step[detail::state_of(from, step)];
    step.enter();
    step.each([&](char32_t to) { row[detail::state_of(to, step)] = step.number(); });
  });
  detail::python_numbers emit = open("prob_emit.py");
  emit.each([&](char32_t state) {
    auto& row = result.emit[detail::state_of(state, emit)];
    emit.enter();
    emit.each([&](char32_t character) { row[character] = emit.number(); });
  });
  return chinese_words(std::make_shared<const model>(std::move(result)));
}

LODESTONE_INLINE std::int64_t chinese_words::frequency(std::u32string_view word) const {
  const auto found = model_->frequencies.find(std::u32string(word));
  return found == model_->frequencies.end() ? -1 : found->second;
}

/// The most likely states of the characters, by Viterbi's algorithm; where two ways are as likely the state that is
/// later in the alphabet wins, as where Python compares (probability, state).
LODESTONE_INLINE void chinese_words::cut_by_states(std::u32string_view run,
                                                   std::vector<std::u32string_view>& words) const {
  enum state : std::size_t { first, last, middle, alone };  // B, E, M and S
  constexpr std::array<std::array<std::size_t, 2>, states> before{
      {{last, alone}, {first, middle}, {first, middle}, {last, alone}}};
  const auto emits = [&](std::size_t s, char32_t c) {
    const auto found = model_->emit[s].find(c);
    return found == model_->emit[s].end() ? detail::never : found->second;
  };
  std::array<double, states> likely{};
  for (std::size_t s = 0; s < states; ++s) likely[s] = model_->start[s] + emits(s, run[0]);
  std::vector<std::array<std::uint8_t, states>> from(run.size());
  for (std::size_t t = 1; t < run.size(); ++t) {
    std::array<double, states> next{};
    for (std::size_t s = 0; s < states; ++s) {
      const double emitted = emits(s, run[t]);
      const double one = likely[before[s][0]] + model_->step[before[s][0]][s] + emitted;
      const double other = likely[before[s][1]] + model_->step[before[s][1]][s] + emitted;
      next[s] = std::max(one, other);
      from[t][s] = static_cast<std::uint8_t>(before[s][other >= one ? 1 : 0]);
    }
    likely = next;
  }
  std::vector<std::size_t> path(run.size());
  path.back() = likely[alone] >= likely[last] ? alone : last;
  for (std::size_t t = run.size(); t-- > 1;) path[t - 1] = from[t][path[t]];
  std::size_t begin = 0;
  for (std::size_t t = 0; t < run.size(); ++t) {
    if (path[t] == first || path[t] == alone) begin = t;
    if (path[t] == last || path[t] == alone) words.push_back(run.substr(begin, t + 1 - begin));
  }
}

/// Characters that no word of the dictionary joins: runs of Han characters go to the model, numbers and Latin words
/// stay whole, what stands between them too.
LODESTONE_INLINE void chinese_words::cut_unknown(std::u32string_view run,
                                                 std::vector<std::u32string_view>& words) const {
  for (std::size_t i = 0; i < run.size();) {
    std::size_t end = i;
    while (end < run.size() && detail::is_han(run[end])) ++end;
    if (end > i) {
      cut_by_states(run.substr(i, end - i), words);
    } else if (detail::is_latin(run[i])) {
      end = detail::latin_end(run, i);
      words.push_back(run.substr(i, end - i));
    } else {
      while (end < run.size() && !detail::is_han(run[end]) && !detail::is_latin(run[end])) ++end;
      words.push_back(run.substr(i, end - i));
    }
    i = end;
  }
}

LODESTONE_INLINE void chinese_words::cut_run(std::u32string_view run, std::vector<std::u32string_view>& words) const {
  std::vector<double> likely(run.size() + 1, 0.0);  // of the best way to cut what begins here
  std::vector<std::size_t> ends(run.size(), 0);     // of its first word
  for (std::size_t i = run.size(); i-- > 0;) {
    double best = -std::numeric_limits<double>::infinity();
    const auto consider = [&](std::size_t end, std::int64_t count) {
      const double value =
          std::log(static_cast<double>(std::max<std::int64_t>(count, 1))) - model_->log_total + likely[end];
      if (value >= best) {
        best = value;
        ends[i] = end;
      }
    };
    for (std::size_t end = i + 1; end <= run.size(); ++end) {
      const std::int64_t count = frequency(run.substr(i, end - i));
      if (count < 0) break;
      if (count > 0) consider(end, count);
    }
    if (ends[i] == 0) consider(i + 1, 1);
    likely[i] = best;
  }
  std::size_t single = 0;  // where characters begin that stayed single
  const auto flush = [&](std::size_t end) {
    const std::u32string_view left = run.substr(single, end - single);
    if (left.size() == 1) {
      words.push_back(left);
    } else if (frequency(left) > 0) {
      for (std::size_t i = 0; i < left.size(); ++i) words.push_back(left.substr(i, 1));
    } else {
      cut_unknown(left, words);
    }
  };
  for (std::size_t i = 0; i < run.size(); i = ends[i]) {
    if (ends[i] == i + 1) continue;
    if (single < i) flush(i);
    words.push_back(run.substr(i, ends[i] - i));
    single = ends[i];
  }
  if (single < run.size()) flush(run.size());
}

LODESTONE_INLINE std::vector<std::string> chinese_words::operator()(std::string_view text) const {
  const std::u32string points = code_points(text);
  const std::u32string_view all = points;
  std::vector<std::u32string_view> words;
  for (std::size_t i = 0; i < all.size();) {
    std::size_t end = i;
    while (end < all.size() && detail::is_in_run(all[end])) ++end;
    if (end > i) {
      cut_run(all.substr(i, end - i), words);
    } else {
      end = all.substr(i, 2) == U"\r\n" ? i + 2 : i + 1;
      words.push_back(all.substr(i, end - i));
    }
    i = end;
  }
  std::vector<std::string> result;
  result.reserve(words.size());
  for (const std::u32string_view word : words) result.push_back(utf8_of(word));
  return result;
}

}  // namespace lodestone::eval
