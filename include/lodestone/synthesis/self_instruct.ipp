// Definitions of self_instruct.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/synthesis/self_instruct.hpp>

namespace lodestone::synthesis {

LODESTONE_INLINE question_kind parse_question_kind(std::string_view name) {
  for (const question_kind kind : all_question_kinds)
    if (to_string(kind) == name) return kind;
  throw config_error("unknown kind of questions \"" + std::string(name) + "\"", "question_kinds",
                     "use some of: general, summary, reasoning, information");
}

namespace detail {

inline std::string replace_count(std::string text, std::int64_t count) {
  const std::string number = std::to_string(count);
  for (std::size_t at = 0; (at = text.find("{n}", at)) != std::string::npos; at += number.size())
    text.replace(at, 3, number);
  return text;
}

[[nodiscard]] inline std::string_view wish_of(question_kind kind, language tongue) {
  const bool is_chinese = tongue == language::chinese;
  switch (kind) {
    case question_kind::general:
      return is_chinese ? "请根据上文提出{n}个中文问题。问题要多样，并覆盖全文的各个部分。"
                        : "Read the text above and write {n} English questions about it. The questions should differ "
                          "from each other and together cover every part of the text.";
    case question_kind::summary:
      return is_chinese
                 ? "请根据上文提出{n}个需要总结，或需要综合多处内容才能回答的中文问题。问题要多样，并覆盖全文的各"
                   "个部分。"
                 : "Read the text above and write {n} English questions that can only be answered by "
                   "summarising it or by bringing together what several parts of it say. The questions should "
                   "differ from each other and together cover every part of the text.";
    case question_kind::reasoning:
      return is_chinese ? "请根据上文提出{n}个需要多步推理才能回答的中文问题。问题要多样，并覆盖全文的各个部分。"
                        : "Read the text above and write {n} English questions that take several steps of reasoning "
                          "over it to answer. The questions should differ from each other and together cover every "
                          "part of the text.";
    case question_kind::information:
      return is_chinese ? "请根据上文提出{n}个查找具体信息的中文问题。问题要多样，并覆盖全文的各个部分。"
                        : "Read the text above and write {n} English questions that look for particular pieces of "
                          "information in it. The questions should differ from each other and together cover every "
                          "part of the text.";
  }
  return "";
}

}  // namespace detail

LODESTONE_INLINE std::string instruction_for(question_kind kind, language tongue, std::int64_t count) {
  std::string format;  // "1: ", "2: ", ...
  for (std::int64_t i = 1; i <= std::min<std::int64_t>(count, 2); ++i)
    format += (format.empty() ? "\"" : ", \"") + std::to_string(i) + ": \"";
  if (count > 2) format += ", ...";
  const std::string begin(detail::wish_of(kind, tongue));
  return detail::replace_count(begin, count) +
         (tongue == language::chinese ? "每行一个问题，按以下格式输出，不要写其他内容：" + format
                                      : " Write one question a line and nothing else, in this format: " + format);
}

LODESTONE_INLINE std::string question_prompt(std::string_view document, question_kind kind, language tongue,
                                             std::int64_t count) {
  return std::string(document) + "\n\n" + instruction_for(kind, tongue, count);
}

LODESTONE_INLINE std::string answer_prompt(std::string_view document, std::string_view question) {
  return std::string(document) + "\n\n" + std::string(question);
}

namespace detail {

[[nodiscard]] inline std::string_view without_blanks(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

[[nodiscard]] inline bool take(std::string_view& text, std::string_view head) {
  if (!text.starts_with(head)) return false;
  text.remove_prefix(head.size());
  return true;
}

/// ASCII or full-width digits; 0 when there are none or too many.
[[nodiscard]] inline std::int64_t take_number(std::string_view& text) {
  constexpr std::string_view wide = "０１２３４５６７８９";
  std::int64_t value = 0;
  int digits = 0;
  for (; digits < 4; ++digits) {
    if (!text.empty() && text.front() >= '0' && text.front() <= '9') {
      value = 10 * value + (text.front() - '0');
      text.remove_prefix(1);
      continue;
    }
    const std::size_t at = text.size() < 3 ? std::string_view::npos : wide.find(text.substr(0, 3));
    if (at == std::string_view::npos || at % 3 != 0) break;
    value = 10 * value + static_cast<std::int64_t>(at / 3);
    text.remove_prefix(3);
  }
  return digits == 4 ? 0 : value;
}

/// The number that a line begins with and, in `rest`, what follows its mark; 0 when the line has no number.
[[nodiscard]] inline std::int64_t number_of_line(std::string_view line, std::string_view& rest) {
  line = without_blanks(line);
  while (take(line, "#")) {
  }
  while (take(line, " ")) {
  }
  if (line.starts_with("- ") || line.starts_with("* ")) line.remove_prefix(2);
  const bool is_bold = take(line, "**");
  for (const std::string_view word : {"Questions", "Question", "question", "问题", "問題", "Q"})
    if (take(line, word)) break;
  while (take(line, " ")) {
  }
  static_cast<void>(take(line, "("));
  const std::int64_t number = take_number(line);
  if (number == 0) return 0;
  bool is_marked = false;
  const auto take_bold = [&] {
    if (is_bold) static_cast<void>(take(line, "**"));
  };
  take_bold();
  for (const std::string_view mark : {":", "：", ".", "．", "、", ")", "）"})
    if (take(line, mark)) {
      is_marked = true;
      break;
    }
  if (!is_marked || (!line.empty() && line.front() >= '0' && line.front() <= '9')) return 0;  // 3.5 is no mark
  take_bold();
  rest = without_blanks(line);
  if (is_bold && rest.ends_with("**")) rest = without_blanks(rest.substr(0, rest.size() - 2));
  return number;
}

}  // namespace detail

LODESTONE_INLINE std::vector<std::string> parse_numbered_questions(std::string_view answer) {
  std::vector<std::string> questions;
  std::int64_t last = 0;
  bool is_open = false;  // the next line can go on with the question before it
  while (!answer.empty()) {
    const std::size_t end = std::min(answer.find('\n'), answer.size());
    const std::string_view line = answer.substr(0, end);
    answer.remove_prefix(std::min(end + 1, answer.size()));
    std::string_view rest;
    if (detail::number_of_line(line, rest) == last + 1) {
      ++last;
      questions.emplace_back(rest);
      is_open = true;
    } else if (const std::string_view more = detail::without_blanks(line); !more.empty()) {
      if (is_open) questions.back() += (questions.back().empty() ? "" : " ") + std::string(more);
    } else {
      is_open = !questions.empty() && questions.back().empty();
    }
  }
  std::vector<std::string> kept;
  for (std::string& one : questions)
    if (!one.empty() && std::find(kept.begin(), kept.end(), one) == kept.end()) kept.push_back(std::move(one));
  return kept;
}

}  // namespace lodestone::synthesis
