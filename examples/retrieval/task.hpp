// Look-up tasks over real text: numbers under short names, and quotations.
//
// A context is an excerpt of a text with facts such as {dako=48213} between its words. A question repeats the words in
// front of its answer: "{dako=" asks for "48213}", twelve characters of the text ask for the next eight. Every random
// choice follows from the stream that make() is given.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/text/chat_encoder.hpp>
#include <lodestone/text/tokenizer.hpp>

namespace retrieval {

using token_list = std::vector<std::int32_t>;

/// The control tokens of the tokenizer, in the order of their ids.
inline constexpr std::array<std::string_view, 3> control_tokens{"<|begin|>", "<|end|>", "<|question|>"};

struct question {
  token_list asked;                ///< what the context says in front of the answer
  token_list answer;               ///< what it says next
  std::vector<token_list> others;  ///< the answers to the other facts of the context; none for a quotation
};

struct task {
  token_list context;                ///< with the token that begins a text
  std::vector<std::int64_t> chunks;  ///< chunk j of the context is [chunks[j], chunks[j + 1]); none cuts a fact
  std::vector<question> facts;       ///< one for each fact, in random order
  std::vector<question> quotations;
};

/// How large a task is.
struct task_size {
  std::int64_t context = 0;  ///< tokens, the first one included
  std::int64_t facts = 8;
  std::int64_t quotations = 2;
};

class task_maker {
 public:
  static constexpr std::int64_t name_letters = 4, digits = 5, quoted = 12, continued = 8;
  static constexpr std::int64_t chunk_tokens = 64;  ///< of a chunk, or fewer where it would cut a fact or a quotation
  /// Tokens of "{dako=48213}", and of a question with its answer and the tokens around them.
  ///@{
  static constexpr std::int64_t fact_tokens = name_letters + digits + 3;
  static constexpr std::int64_t fact_question = fact_tokens + 2;
  static constexpr std::int64_t quotation_question = quoted + continued + 2;
  ///@}

  /// Reads the .txt files of `folder`: every sixth of them for held-out tasks, the others for training.
  task_maker(const lodestone::tokenizer& words, const std::filesystem::path& folder, bool is_held_out) {
    for (std::size_t byte = 0; byte < 128; ++byte) {
      const token_list ids = words.encode(std::string(1, static_cast<char>(byte)), false);
      if (ids.size() != 1) throw lodestone::config_error("has tokens of several characters", "tokenizer");
      id_of_[byte] = ids.front();
    }
    for (std::size_t k = 0; k < control_tokens.size(); ++k) {
      const auto id = words.id_of(control_tokens[k]);
      if (!id) throw lodestone::config_error("has no token " + std::string(control_tokens[k]), "tokenizer");
      control_[k] = *id;
    }
    const std::set<std::filesystem::path> files{std::filesystem::directory_iterator(folder), {}};
    std::int64_t number = 0;
    for (const auto& file : files) {
      if (file.extension() != ".txt") continue;
      if ((number++ % 6 == 5) == is_held_out) texts_.push_back(ids_of(lodestone::read_text(file)));
    }
    if (texts_.empty()) throw lodestone::io_error("holds too few .txt files", folder.string(), "give state_union");
  }

  [[nodiscard]] std::int32_t begin() const { return control_[0]; }
  [[nodiscard]] std::int32_t end() const { return control_[1]; }
  [[nodiscard]] std::int32_t asks() const { return control_[2]; }

  /// A task of the given size: the context is exactly as long as asked.
  [[nodiscard]] task make(const task_size& size, lodestone::random_stream& random) const {
    const std::int64_t room = size.context - 1 - size.facts * fact_tokens;
    const std::int64_t spans = quoted + continued;
    if (size.facts < 1 || room < (size.quotations + 1) * 2 * spans)
      throw lodestone::config_error("too short for its facts and quotations", "task_size::context");
    const token_list& text = choose_text(room, random);
    const auto text_begin = static_cast<std::int64_t>(random.below(text.size() - static_cast<std::size_t>(room) + 1));
    const std::span<const std::int32_t> excerpt =
        std::span{text}.subspan(static_cast<std::size_t>(text_begin), static_cast<std::size_t>(room));

    task made;
    std::vector<std::int64_t> quotes;  // places of the excerpt that are asked for
    for (std::int64_t k = 0; k < size.quotations; ++k) {
      const std::int64_t place = choose_quotation(excerpt, random);
      quotes.push_back(place);
      const auto from = excerpt.subspan(static_cast<std::size_t>(place), static_cast<std::size_t>(spans));
      made.quotations.push_back({.asked = {from.begin(), from.begin() + quoted},
                                 .answer = {from.begin() + quoted, from.end()},
                                 .others = {}});
    }
    std::vector<std::int64_t> cuts;  // where facts stand; no quotation is cut
    for (std::int64_t k = 0; k < size.facts; ++k) {
      auto cut = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(room) + 1));
      for (const std::int64_t place : quotes)
        if (cut > place && cut < place + spans) cut = place;
      cuts.push_back(cut);
    }
    std::ranges::sort(cuts);

    const std::vector<std::string> names = distinct(size.facts, random, name);
    const std::vector<std::string> numbers = distinct(size.facts, random, number);
    made.context.reserve(static_cast<std::size_t>(size.context));
    made.context.push_back(begin());
    std::int64_t done = 0;
    span_list whole;  // what no chunk cuts, as places in the context
    const auto append_text = [&](std::int64_t end) {
      const std::int64_t shift = std::ssize(made.context) - done;
      for (const std::int64_t place : quotes)
        if (place >= done && place < end) whole.emplace_back(place + shift, place + shift + spans);
      append(made.context, excerpt.subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(end - done)));
      done = end;
    };
    for (std::size_t k = 0; k < cuts.size(); ++k) {
      append_text(cuts[k]);
      whole.emplace_back(std::ssize(made.context), std::ssize(made.context) + fact_tokens);
      append(made.context, ids_of("{" + names[k] + "=" + numbers[k] + "}"));
    }
    append_text(room);
    made.chunks = chunks_around(whole, size.context);
    std::vector<std::size_t> order(cuts.size());
    for (std::size_t k = 0; k < order.size(); ++k) order[k] = k;
    lodestone::shuffle(std::span{order}, random);
    for (const std::size_t k : order) {
      question own{.asked = ids_of("{" + names[k] + "="), .answer = ids_of(numbers[k] + "}"), .others = {}};
      for (std::size_t other = 1; other < order.size(); ++other)
        own.others.push_back(ids_of(numbers[(k + other) % order.size()] + "}"));
      made.facts.push_back(std::move(own));
    }
    return made;
  }

  /// The prompt of one question: its context, the token that asks, and its words.
  [[nodiscard]] token_list prompt(const task& of, const question& one) const {
    token_list ids = of.context;
    ids.push_back(asks());
    append(ids, one.asked);
    return ids;
  }

  /// A preference group: the prompt of a question with its answer, and with the answers to two other facts of the same
  /// context, which are real retrievals of the wrong fact. Every answer token has weight 1.
  [[nodiscard]] std::vector<lodestone::encoded_sequence> preference(const task& of, const question& one,
                                                                    std::int64_t group) const {
    std::vector<lodestone::encoded_sequence> answers;
    for (std::int32_t role = 0; role <= std::min<std::ptrdiff_t>(2, std::ssize(one.others)); ++role) {
      lodestone::encoded_sequence made;
      made.tokens = prompt(of, one);
      made.group = group;
      made.role = role;
      made.prompt = made.size();
      made.chunks = of.chunks;
      append(made.tokens, role == 0 ? one.answer : one.others[static_cast<std::size_t>(role - 1)]);
      made.labels.assign(made.tokens.size(), lodestone::no_label);
      made.weights.assign(made.tokens.size(), 0.0F);
      for (auto row = static_cast<std::size_t>(made.prompt) - 1; row + 1 < made.tokens.size(); ++row) {
        made.labels[row] = made.tokens[row + 1];
        made.weights[row] = 1.0F;
      }
      answers.push_back(std::move(made));
    }
    return answers;
  }

  /// The context with all questions and answers behind it. Answers have weight 1; `other_weight` is that of all other
  /// targets, none at 0.
  [[nodiscard]] lodestone::encoded_sequence example(const task& of, float other_weight) const {
    lodestone::encoded_sequence made;
    made.tokens = of.context;
    made.chunks = of.chunks;
    std::vector<std::pair<std::size_t, std::size_t>> answers;
    for (const std::vector<question>* group : {&of.facts, &of.quotations})
      for (const question& one : *group) {
        made.tokens.push_back(asks());
        append(made.tokens, one.asked);
        answers.emplace_back(made.tokens.size(), made.tokens.size() + one.answer.size());
        append(made.tokens, one.answer);
        made.tokens.push_back(end());
        if (group == &of.facts) ++answers.back().second;  // where the answer ends is part of it
      }
    const std::size_t n = made.tokens.size();
    made.labels.assign(made.tokens.begin() + 1, made.tokens.end());
    made.labels.push_back(lodestone::no_label);
    made.weights.assign(n, other_weight);
    made.weights.back() = 0.0F;
    for (const auto& [from, to] : answers)
      for (std::size_t row = from - 1; row + 1 < to; ++row) made.weights[row] = 1.0F;
    if (other_weight == 0.0F)
      for (std::size_t row = 0; row < n; ++row)
        if (made.weights[row] == 0.0F) made.labels[row] = lodestone::no_label;
    return made;
  }

  /// A drill of the same skill: random characters, then pieces of them from random places. What follows the first two
  /// characters of a piece is a target.
  [[nodiscard]] lodestone::encoded_sequence drill(std::int64_t tokens, lodestone::random_stream& random) const {
    constexpr std::size_t piece = 16;
    lodestone::encoded_sequence made;
    const auto n = static_cast<std::size_t>(tokens);
    made.tokens.push_back(begin());
    while (made.tokens.size() < n / 2) made.tokens.push_back(id_of_['!' + random.below('~' - '!' + 1)]);
    made.weights.assign(made.tokens.size(), 0.0F);
    while (made.tokens.size() < n) {
      made.tokens.push_back(asks());
      made.weights.push_back(0.0F);
      const std::size_t from = 1 + random.below(n / 2 - 1 - piece);
      for (std::size_t k = 0; k < piece && made.tokens.size() < n; ++k) {
        made.weights.push_back(k > 0 && k + 1 < piece ? 1.0F : 0.0F);
        made.tokens.push_back(made.tokens[from + k]);
      }
    }
    made.labels.assign(n, lodestone::no_label);
    made.weights.back() = 0.0F;
    for (std::size_t row = 0; row < n; ++row)
      if (made.weights[row] > 0.0F) made.labels[row] = made.tokens[row + 1];
    return made;
  }

  /// The size of a task whose example() has `tokens` tokens: a fact for every 64 of them, a quotation for every 256.
  [[nodiscard]] static task_size size_of_example(std::int64_t tokens) {
    task_size size{.context = tokens, .facts = std::max<std::int64_t>(2, tokens / 64), .quotations = tokens / 256};
    size.context -= size.facts * fact_question + size.quotations * quotation_question;
    return size;
  }

  [[nodiscard]] token_list ids_of(std::string_view text) const {
    token_list ids;
    ids.reserve(text.size());
    for (const char c : text)
      if (const auto byte = static_cast<unsigned char>(c); byte < 128) ids.push_back(id_of_[byte]);
    return ids;
  }

 private:
  static void append(token_list& to, std::span<const std::int32_t> more) {
    to.insert(to.end(), more.begin(), more.end());
  }

  [[nodiscard]] static std::string name(lodestone::random_stream& random) {
    constexpr std::string_view consonants = "bcdfghjklmnpqrstvwxz";
    constexpr std::string_view vowels = "aeiou";
    std::string text;
    for (std::int64_t k = 0; k < name_letters; ++k) {
      const std::string_view from = k % 2 == 0 ? consonants : vowels;
      text += from[random.below(from.size())];
    }
    return text;
  }
  [[nodiscard]] static std::string number(lodestone::random_stream& random) {
    std::string text;
    for (std::int64_t k = 0; k < digits; ++k) text += static_cast<char>('0' + random.below(10));
    return text;
  }
  template <class Make>
  [[nodiscard]] static std::vector<std::string> distinct(std::int64_t count, lodestone::random_stream& random,
                                                         const Make& make) {
    std::vector<std::string> all;
    while (std::ssize(all) < count)
      if (std::string next = make(random); std::ranges::find(all, next) == all.end()) all.push_back(std::move(next));
    return all;
  }

  using span_list = std::vector<std::pair<std::int64_t, std::int64_t>>;

  /// Bounds of chunks over the tokens [1, end) of a context: the next chunk begins `chunk_tokens` further on, or in
  /// front of the span of `whole` that it would cut. Spans that overlap are kept whole together.
  [[nodiscard]] static std::vector<std::int64_t> chunks_around(const span_list& whole, std::int64_t end) {
    std::vector<std::int64_t> bounds{1};
    while (end - bounds.back() > chunk_tokens) {
      std::int64_t next = bounds.back() + chunk_tokens;
      for (bool moved = true; std::exchange(moved, false);)
        for (const auto& [from, to] : whole)
          if (from < next && next < to) {
            next = from;
            moved = true;
          }
      if (next <= bounds.back()) next = bounds.back() + chunk_tokens;  // a chain of overlaps as long as a chunk
      bounds.push_back(next);
    }
    bounds.push_back(end);
    return bounds;
  }

  [[nodiscard]] const token_list& choose_text(std::int64_t tokens, lodestone::random_stream& random) const {
    for (int attempt = 0; attempt < 1000; ++attempt)
      if (const token_list& text = texts_[random.below(texts_.size())]; std::ssize(text) >= tokens) return text;
    throw lodestone::config_error("longer than the texts", "task_size::context", "ask for a shorter one");
  }

  /// Where a quotation begins whose words stand in the excerpt once.
  [[nodiscard]] static std::int64_t choose_quotation(std::span<const std::int32_t> excerpt,
                                                     lodestone::random_stream& random) {
    std::int64_t place = 0;
    for (int attempt = 0; attempt < 20; ++attempt) {
      place =
          static_cast<std::int64_t>(random.below(excerpt.size() - static_cast<std::size_t>(quoted + continued) + 1));
      const auto words = excerpt.subspan(static_cast<std::size_t>(place), static_cast<std::size_t>(quoted));
      const auto first = std::search(excerpt.begin(), excerpt.end(), words.begin(), words.end());
      if (first - excerpt.begin() == place &&
          std::search(first + 1, excerpt.end(), words.begin(), words.end()) == excerpt.end())
        break;
    }
    return place;
  }

  std::array<std::int32_t, 128> id_of_{};
  std::array<std::int32_t, control_tokens.size()> control_{};
  std::vector<token_list> texts_;
};

}  // namespace retrieval
