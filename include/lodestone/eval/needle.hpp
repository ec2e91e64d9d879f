// Needle in a haystack: facts between the sentences of long text, asked for behind it, over a grid of depth x length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/random.hpp>
#include <lodestone/eval/concept.hpp>
#include <lodestone/eval/haystack.hpp>

namespace lodestone::eval {

/// How many tokens a model makes of a whole prompt, with all that its tokenizer and chat template put around it.
using token_count = std::function<std::int64_t(std::string_view prompt)>;

/// The words of the test. {key} and {value} are drawn anew for every question; words without them never change.
struct needle_form {
  /// The sentence that is hidden.
  std::string fact = "The access code of the {key} is {value}.";
  /// What is asked behind the text. With several values, `several` takes its place.
  std::string question = "What is the access code of the {key}? Answer with the code only.";
  /// The question about a key with several values.
  std::string several = "What are all access codes of the {key}? Answer with the codes only, separated by commas.";
  /// What the answer must hold.
  std::string answer = "{value}";
  /// The whole prompt.
  std::string prompt =
      "Read the following text. It mentions access codes, and a question about them follows it.\n\n{context}\n\n"
      "{question}";
  bool letters = false;     ///< keys of four letters (dako) in place of words (amber lighthouse)
  std::int64_t digits = 7;  ///< of a value, 1 to 18

  /// {dako=48213} between sentences and {dako= behind `asks`: for models that look things up and read no questions.
  [[nodiscard]] static needle_form compact(const std::string& asks = "\n");
};

/// What is asked.
struct needle_options {
  std::vector<std::int64_t> lengths{1024, 2048, 4096};  ///< tokens of the whole prompt
  std::vector<double> depths{0, 25, 50, 75, 100};       ///< percent of the text that stands in front of the needle
  std::int64_t repeats = 1;          ///< questions at each length and depth, each with its own text, key and values
  std::int64_t values = 1;           ///< facts about the key; the others are spread over the text from its depth on
  std::int64_t others = 0;           ///< facts about other keys, at random places
  std::int64_t max_new_tokens = 64;  ///< of the answer
  std::vector<std::string> stop{};   ///< the answer ends before the first of these
  bool is_chat = true;               ///< a user's turn, or the text as it is
  std::uint64_t seed = 42;           ///< of keys, values and places
  std::string name = "needle";       ///< of the task
};

/// The test as a task. A prompt is as long as whole sentences make it, and never longer than asked; a needle stands
/// behind the last sentence that ends at or before its depth, in tokens of the text.
///
/// Labels: length, depth. Scores: found, the share of values that the answer holds as whole words, in any letter case;
/// exact_match, 1 when that is all of them; rouge1_precision, the share of the words of the answer's first line that
/// the values have (LOGO's evaluation counts so; rouge.hpp).
class needle {
 public:
  /// `count` measures prompts of the kind that `options.is_chat` names; the haystack's text is copied once. Throws
  /// config_error for a length that its words alone exceed, and for settings out of range.
  needle(haystack hay, token_count count, needle_options options = {}, needle_form form = {});

  /// The parts of a task.
  ///@{
  [[nodiscard]] const std::string& name() const { return options_.name; }
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::string id(std::size_t i) const;
  [[nodiscard]] question ask(std::size_t i) const;
  [[nodiscard]] std::vector<score> mark(std::size_t i, std::string_view answer) const;
  ///@}

  /// What the answer to question i must hold.
  [[nodiscard]] std::vector<std::string> expected(std::size_t i) const;
  /// The facts that question i hides about its key, in the order of expected(i).
  [[nodiscard]] std::vector<std::string> facts(std::size_t i) const;

 private:
  struct drawn {
    std::string key{};
    std::vector<std::string> values{};
    std::vector<std::string> other_facts{};
    std::vector<double> other_depths{};
    std::size_t first = 0;  ///< sentence of the haystack that the text begins with
  };

  [[nodiscard]] drawn draw(std::size_t i) const;
  [[nodiscard]] std::int64_t length_of(std::size_t i) const;
  [[nodiscard]] double depth_of(std::size_t i) const;
  [[nodiscard]] std::size_t sentences() const { return tokens_.size() - 1; }  // of the text, before it repeats
  [[nodiscard]] std::string compose(const drawn& what, double depth, std::size_t sentences) const;
  /// Tokens of the n sentences from `first` on, each counted alone.
  [[nodiscard]] std::int64_t estimate(std::size_t first, std::size_t n) const;

  haystack hay_;
  token_count count_;
  needle_options options_;
  needle_form form_;
  std::vector<std::int64_t> tokens_;  ///< [sentences + 1]: of all sentences before each, counted alone
};
static_assert(task<needle>);

/// The needle test rated by a judge: 1, 3, 5, 7 or 10 (as the test's authors ask for) in the form [[n]].
///
/// Scores: rating, from 1 to 10.
class judged_needle {
 public:
  /// The questions of `asked`.
  explicit judged_needle(needle asked) : asked_(std::make_shared<needle>(std::move(asked))) {}

  /// The parts of a judged task.
  ///@{
  [[nodiscard]] std::string name() const { return asked_->name() + "_judged"; }
  [[nodiscard]] std::size_t size() const { return asked_->size(); }
  [[nodiscard]] question ask(std::size_t i) const { return asked_->ask(i); }
  [[nodiscard]] std::vector<chat_message> judge(std::size_t i, std::string_view answer, std::int64_t attempt) const;
  [[nodiscard]] static std::optional<double> rating(std::string_view reply);
  [[nodiscard]] static std::vector<score> marks(std::size_t i, double rating);
  ///@}

 private:
  std::shared_ptr<const needle> asked_;
};
static_assert(judged_task<judged_needle>);

/// Whether `text` holds `part` as whole words: the same characters but for the case of ASCII letters, with neither a
/// letter nor a digit of ASCII directly around them where `part` has one.
[[nodiscard]] bool holds_words(std::string_view text, std::string_view part);

}  // namespace lodestone::eval

#ifndef LODESTONE_COMPILED
#include <lodestone/eval/needle.ipp>
#endif
