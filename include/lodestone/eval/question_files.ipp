// Definitions of question_files.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/inline.hpp>
#include <lodestone/eval/answer_scores.hpp>
#include <lodestone/eval/published_prompts.hpp>
#include <lodestone/eval/question_files.hpp>
#include <lodestone/eval/record_fields.hpp>
#include <lodestone/eval/rouge.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::eval {

namespace detail {

[[nodiscard]] inline const published_task& longbench_task(std::string_view name) {
  return *std::find_if(longbench_tasks.begin(), longbench_tasks.end(),
                       [&](const published_task& task) { return task.name == name; });
}

/// A question with the prompt and the length of LongBench's data set of that name, or with the user's prompt, about a
/// text that other questions share.
[[nodiscard]] inline marked_question question_like(std::string_view task, const benchmark_options& options,
                                                   std::string id, std::shared_ptr<const std::string> context,
                                                   std::string input) {
  const published_task& like = longbench_task(task);
  marked_question result;
  result.ask.id = std::move(id);
  std::string form = options.prompt.empty() ? std::string(like.prompt) : options.prompt;
  (void)fill_prompt(form, {{"context", ""}, {"input", ""}});  // a form that cannot be filled fails here
  result.prompt = [form = std::move(form), context = std::move(context), input = std::move(input)] {
    return fill_prompt(form, {{"context", *context}, {"input", input}});
  };
  result.ask.max_new_tokens = like.max_new_tokens;
  return result;
}

/// f1, substring_match and exact_match over references.
[[nodiscard]] inline std::vector<score> phrase_scores(std::string_view answer,
                                                      std::span<const std::string> references) {
  return {{"f1", best_over(answer, references, answer_f1), 1.0},
          {"substring_match", best_over(answer, references, is_substring_match), 1.0},
          {"exact_match", best_over(answer, references, is_exact_match), 1.0}};
}

/// Documents as LongBench writes them for questions over several: one line end between them.
inline void add_passage(std::string& context, std::size_t number, std::string_view title, std::string_view text) {
  if (!context.empty()) context += '\n';
  context += "Passage " + std::to_string(number) + ":\n";
  context.append(title).append("\n").append(text);
}

/// A document as HotpotQA and 2WikiMultihopQA have it.
struct titled_sentences {
  std::string_view title;
  std::vector<std::string_view> sentences;
};

/// The field "context" of a record, which must outlive them.
[[nodiscard]] inline std::vector<titled_sentences> documents_of(const record_fields& fields) {
  std::vector<titled_sentences> documents;
  for (const nlohmann::json& document : fields.list("context")) {
    if (!document.is_array() || document.size() != 2 || !document[0].is_string() || !document[1].is_array())
      fields.fail("each of context is not a title and a list of sentences");
    titled_sentences& each = documents.emplace_back();
    each.title = document[0].get_ref<const std::string&>();
    for (const nlohmann::json& sentence : document[1])
      each.sentences.emplace_back(fields.text_of(sentence, "each sentence of context"));
  }
  return documents;
}

}  // namespace detail

LODESTONE_INLINE marked_questions musique(const std::filesystem::path& file, const benchmark_options& options) {
  std::vector<marked_question> questions;
  detail::each_record(file, [&](const detail::record_fields& fields, std::int64_t) {
    if (fields.has("answerable") && fields.value("answerable") == false) {
      throw data_error("this question has no answer in its paragraphs", fields.where(),
                       "use the files musique_ans, whose questions all have one");
    }
    std::string context;
    const std::size_t count = fields.list("paragraphs").size();
    for (std::size_t i = 0; i < count; ++i) {
      const detail::record_fields paragraph = fields.element("paragraphs", i);
      detail::add_passage(context, i + 1, paragraph.text("title"), paragraph.text("paragraph_text"));
    }
    std::vector<std::string> references{fields.text("answer")};
    if (fields.has("answer_aliases") && !fields.list("answer_aliases").empty())
      for (std::string& alias : fields.texts("answer_aliases")) references.push_back(std::move(alias));
    questions.push_back(detail::question_like("musique", options, fields.text("id"),
                                              std::make_shared<const std::string>(std::move(context)),
                                              fields.text("question")));
    if (fields.has("question_decomposition"))
      questions.back().ask.labels = {{"hops", std::to_string(fields.list("question_decomposition").size())}};
    questions.back().mark = [references = std::move(references)](std::string_view answer) {
      return detail::phrase_scores(answer, references);
    };
  });
  return {"musique", std::move(questions)};
}

LODESTONE_INLINE marked_questions two_wiki(const std::filesystem::path& file, const benchmark_options& options) {
  std::vector<marked_question> questions;
  detail::each_record(file, [&](const detail::record_fields& fields, std::int64_t) {
    const std::vector<detail::titled_sentences> documents = detail::documents_of(fields);
    // A record of HotpotQA has spaces at its sentences wherever its text has them, one of 2WikiMultihopQA nowhere.
    const bool has_spaces =
        std::any_of(documents.begin(), documents.end(), [](const detail::titled_sentences& document) {
          return std::any_of(document.sentences.begin(), document.sentences.end(),
                             [](std::string_view words) { return words.starts_with(' '); });
        });
    std::string context;
    for (std::size_t i = 0; i < documents.size(); ++i) {
      std::string text;
      for (const std::string_view words : documents[i].sentences) {
        if (!has_spaces && !text.empty() && !words.empty()) text += ' ';
        text += words;
      }
      detail::add_passage(context, i + 1, documents[i].title, text);
    }
    std::vector<std::string> references{fields.text("answer")};
    questions.push_back(detail::question_like("2wikimqa", options, fields.text("_id"),
                                              std::make_shared<const std::string>(std::move(context)),
                                              fields.text("question")));
    questions.back().ask.labels = {{"type", fields.text_or("type", "")}};
    questions.back().mark = [references = std::move(references)](std::string_view answer) {
      return detail::phrase_scores(answer, references);
    };
  });
  return {file.stem().string(), std::move(questions)};
}

LODESTONE_INLINE marked_questions qmsum(const std::filesystem::path& file, const benchmark_options& options) {
  std::vector<marked_question> questions;
  detail::each_record(file, [&](const detail::record_fields& fields, std::int64_t line) {
    std::string transcript;
    const std::size_t turns = fields.list("meeting_transcripts").size();
    for (std::size_t i = 0; i < turns; ++i) {
      const detail::record_fields turn = fields.element("meeting_transcripts", i);
      if (i > 0) transcript += '\n';
      transcript += turn.text("speaker") + ": " + turn.text("content");
    }
    const auto shared = std::make_shared<const std::string>(std::move(transcript));
    for (const char* kind : {"general", "specific"}) {
      const std::string key = std::string(kind) + "_query_list";
      const std::size_t count = fields.list(key.c_str()).size();
      for (std::size_t i = 0; i < count; ++i) {
        const detail::record_fields asked = fields.element(key.c_str(), i);
        std::string id = "meeting " + std::to_string(line) + " " + kind + " " + std::to_string(i + 1);
        questions.push_back(detail::question_like("qmsum", options, std::move(id), shared, asked.text("query")));
        questions.back().ask.labels = {{"kind", kind}};
        const std::vector<rouge_text> references{rouge_words(asked.text("answer"), {.is_on = true})};
        questions.back().mark = [references](std::string_view answer) -> std::vector<score> {
          const rouge_text words = rouge_words(answer, {.is_on = true});
          return {{"rouge_1", rouge_n(words, references, 1).f, 1.0},
                  {"rouge_2", rouge_n(words, references, 2).f, 1.0},
                  {"rouge_l", rouge_l(words, references).f, 1.0}};
        };
      }
    }
  });
  return {"qmsum", std::move(questions)};
}

namespace detail {

[[nodiscard]] inline std::string bytes_of(const std::filesystem::path& file, std::string_view remedy) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw io_error("cannot be read", file.string(), remedy);
  return {std::istreambuf_iterator<char>(stream), {}};
}

[[nodiscard]] inline std::string whole_file(const std::filesystem::path& file, std::string_view remedy) {
  std::string text = bytes_of(file, remedy);
  if (const std::size_t broken = find_broken_utf8(text); broken != std::string::npos) {
    const auto lines = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(broken), '\n');
    throw data_error("the text is not UTF-8", source_line(file.string(), lines + 1),
                     "convert it, for example with iconv");
  }
  return text;
}

/// A story as NarrativeQA's script downloads it. Half of them are film scripts, web pages in whatever encoding: what is
/// not UTF-8 is taken for Latin-1, as which common loaders of this data set read all of them.
[[nodiscard]] inline std::string story_of(const std::filesystem::path& file) {
  std::string text = bytes_of(file, "download the stories with NarrativeQA's own script");
  if (find_broken_utf8(text) == std::string::npos) return text;
  std::string result;
  for (const char byte : text) text::append_utf8(result, static_cast<unsigned char>(byte));
  return result;
}

/// Rows of comma-separated values: fields in quotes may hold commas, line ends and doubled quotes (RFC 4180). Blank
/// lines are no rows.
class csv_rows {
 public:
  csv_rows(std::string text, std::string file) : text_(std::move(text)), file_(std::move(file)) {}

  /// The fields of the next row; false at the end.
  bool next(std::vector<std::string>& row) {
    row.clear();
    for (; at_ < text_.size() && (text_[at_] == '\n' || text_[at_] == '\r'); ++at_)
      if (text_[at_] == '\n') ++line_;
    if (at_ >= text_.size()) return false;
    row_line_ = line_;
    while (true) {
      row.push_back(field());
      if (at_ >= text_.size()) return true;
      const char c = text_[at_++];
      if (c == ',') continue;
      if (c == '\r' && at_ < text_.size() && text_[at_] == '\n') ++at_;
      ++line_;
      return true;
    }
  }
  /// Where the row begins that was read last.
  [[nodiscard]] std::string where() const { return source_line(file_, row_line_); }

 private:
  [[nodiscard]] std::string field() {
    std::string result;
    if (at_ >= text_.size() || text_[at_] != '"') {
      const std::size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
      result = text_.substr(at_, end - at_);
      at_ = end;
      return result;
    }
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\n') ++line_;
      if (c != '"') {
        result += c;
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
        result += c;
        ++at_;
      } else {
        ++at_;
        if (at_ < text_.size() && std::string_view(",\r\n").find(text_[at_]) == std::string_view::npos)
          throw data_error("text stands behind a closed quote", where(), "use the file as it was published");
        return result;
      }
    }
    throw data_error("a quote is not closed", where(), "use the file as it was published");
  }

  std::string text_;
  std::string file_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1;
  std::int64_t row_line_ = 1;
};

}  // namespace detail

LODESTONE_INLINE marked_questions narrativeqa(const std::filesystem::path& file, const std::filesystem::path& stories,
                                              const std::string& set, const benchmark_options& options) {
  constexpr std::array<std::string_view, 5> names{"document_id", "set", "question", "answer1", "answer2"};
  detail::csv_rows rows(detail::whole_file(file, "name NarrativeQA's qaps.csv"), file.string());
  std::vector<std::string> row;
  std::array<std::size_t, names.size()> column{};
  if (!rows.next(row)) throw data_error("the file is empty", file.string(), "name NarrativeQA's qaps.csv");
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto found = std::find(row.begin(), row.end(), names[i]);
    if (found == row.end()) {
      throw data_error("the column " + std::string(names[i]) + " is missing", rows.where(),
                       "name NarrativeQA's qaps.csv");
    }
    column[i] = static_cast<std::size_t>(found - row.begin());
  }
  const std::size_t columns = row.size();
  std::vector<marked_question> questions;
  std::map<std::string, std::int64_t> asked;  // questions about each story
  std::shared_ptr<const std::string> story;
  std::string story_id;
  while (rows.next(row)) {
    if (row.size() != columns) {
      throw data_error("the row has " + std::to_string(row.size()) + " fields, not " + std::to_string(columns),
                       rows.where(), "use the file as it was published");
    }
    if (row[column[1]] != set) continue;
    const std::string& id = row[column[0]];
    if (story == nullptr || id != story_id) {
      story = std::make_shared<const std::string>(detail::story_of(stories / (id + ".content")));
      story_id = id;
    }
    const std::vector<std::string> references{row[column[3]], row[column[4]]};
    std::string name = id + "/" + std::to_string(++asked[id]);
    questions.push_back(detail::question_like("narrativeqa", options, std::move(name), story, row[column[2]]));
    questions.back().mark = [references](std::string_view answer) {
      std::vector<score> scores = detail::phrase_scores(answer, references);
      scores.push_back({"rouge_l", best_over(answer, std::span(references), rouge_l_of_sets), 1.0});
      return scores;
    };
  }
  if (questions.empty()) throw config_error("no question is of this set", "set", "the sets are train, valid and test");
  return {"narrativeqa/" + set, std::move(questions)};
}

LODESTONE_INLINE marked_questions key_value_retrieval(const std::filesystem::path& file, std::optional<std::int64_t> at,
                                                      const benchmark_options& options) {
  std::vector<marked_question> questions;
  detail::each_record(file, [&](const detail::record_fields& fields, std::int64_t line) {
    std::vector<std::pair<std::string, std::string>> pairs;
    for (const nlohmann::json& pair : fields.list("ordered_kv_records")) {
      if (!pair.is_array() || pair.size() != 2) fields.fail("each of ordered_kv_records is not a key and a value");
      pairs.emplace_back(fields.text_of(pair[0], "each key"), fields.text_of(pair[1], "each value"));
    }
    const std::string& key = fields.text("key");
    const std::string& value = fields.text("value");
    const auto count = static_cast<std::int64_t>(pairs.size());
    const auto is_asked = [&](const auto& pair) { return pair.first == key; };
    if (count < 2) fields.fail("there are not two keys or more");
    if (std::count_if(pairs.begin(), pairs.end(), is_asked) != 1) fields.fail("the key is not there exactly once");
    auto place = static_cast<std::int64_t>(std::find_if(pairs.begin(), pairs.end(), is_asked) - pairs.begin());
    if (at) {
      if (*at < 0 || *at >= count) {
        throw config_error("place " + std::to_string(*at) + " is not one of " + std::to_string(count) + " keys", "at",
                           "use 0 to " + std::to_string(count - 1));
      }
      const std::pair<std::string, std::string> asked = pairs[static_cast<std::size_t>(place)];
      pairs.erase(pairs.begin() + place);
      pairs.insert(pairs.begin() + *at, asked);
      place = *at;
    }
    std::string text;
    for (const auto& [name, content] : pairs) {
      text += text.empty() ? "{" : ",\n ";
      text += '"' + name + "\": \"" + content + '"';
    }
    text += '}';
    marked_question& each = questions.emplace_back();
    each.ask.id = "line " + std::to_string(line);
    each.ask.prompt = fill_prompt(options.prompt.empty() ? key_value_prompt : std::string_view(options.prompt),
                                  {{"formatted_kv_records", text}, {"key", key}});
    each.ask.max_new_tokens = 100;
    each.ask.labels = {{"keys", std::to_string(count)},
                       {"depth", std::to_string((100 * place + (count - 1) / 2) / (count - 1))}};
    each.mark = [right = lower_case(value)](std::string_view answer) -> std::vector<score> {
      return {{"accuracy", lower_case(answer).find(right) != std::string::npos ? 1.0 : 0.0, 1.0}};
    };
  });
  return {file.stem().string(), std::move(questions)};
}

}  // namespace lodestone::eval
