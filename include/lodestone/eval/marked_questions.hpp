// Questions of a benchmark, read from its file, each with the function that marks an answer to it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/eval/answer_text.hpp>
#include <lodestone/eval/concept.hpp>

namespace lodestone::eval {

/// A question and what marks an answer to it: always the same metrics, the one that the benchmark reports first.
struct marked_question {
  question ask{};  ///< what a model is asked; its prompt is empty where `prompt` writes it
  std::function<std::vector<score>(std::string_view answer)> mark{};  ///< pure
  std::function<std::string()> prompt{};  ///< writes the prompt each time: questions share a long text that way
};

/// A task whose questions are in memory.
class marked_questions {
 public:
  /// Throws data_error when there are no questions, or two of one id.
  marked_questions(std::string name, std::vector<marked_question> questions)
      : name_(std::move(name)), questions_(std::move(questions)) {
    if (questions_.empty()) throw data_error("there are no questions", name_, "check the file");
    std::unordered_set<std::string_view> ids;
    for (const marked_question& each : questions_)
      if (!ids.insert(each.ask.id).second) throw data_error("two questions have the id '" + each.ask.id + "'", name_);
  }

  [[nodiscard]] const std::string& name() const { return name_; }                            ///< of the task
  [[nodiscard]] std::size_t size() const { return questions_.size(); }                       ///< how many
  [[nodiscard]] const std::string& id(std::size_t i) const { return questions_[i].ask.id; }  ///< of question i
  /// Question i, with its prompt.
  [[nodiscard]] question ask(std::size_t i) const {
    question result = questions_[i].ask;
    if (questions_[i].prompt) result.prompt = questions_[i].prompt();
    return result;
  }
  /// The scores of an answer to question i.
  [[nodiscard]] std::vector<score> mark(std::size_t i, std::string_view answer) const {
    return questions_[i].mark(answer);
  }

 private:
  std::string name_;
  std::vector<marked_question> questions_;
};
static_assert(task<marked_questions>);

/// How the questions of a benchmark are asked and marked.
struct benchmark_options {
  /// What cuts Chinese answers into words: chinese_words for the published scores. Without it they are compared
  /// character by character (characters_as_words()), and their metrics are called f1_characters and rouge_l_characters:
  /// they are other numbers.
  word_splitter chinese{};
  /// Instead of the benchmark's prompt; {NAME} stands for a field of the record, {{ and }} for braces.
  std::string prompt{};
};

/// `form` with the value of each field in place of {NAME}, and braces for {{ and }}. Throws config_error, key "prompt",
/// for a name without a field and a brace without its partner.
[[nodiscard]] std::string fill_prompt(std::string_view form,
                                      const std::vector<std::pair<std::string_view, std::string_view>>& fields);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/marked_questions.ipp>
#endif
