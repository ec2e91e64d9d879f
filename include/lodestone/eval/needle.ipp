// Definitions of needle.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/drawn_words.hpp>
#include <lodestone/eval/needle.hpp>
#include <lodestone/eval/rouge.hpp>

namespace lodestone::eval {

namespace detail {

[[nodiscard]] LODESTONE_INLINE std::string with_fact(std::string_view form, std::string_view key,
                                                     std::string_view value) {
  return fill_slot(fill_slot(form, "{key}", key), "{value}", value);
}

/// 12, 12.5: as labels and ids show a percentage.
[[nodiscard]] LODESTONE_INLINE std::string short_number(double value) {
  char digits[32];
  return {digits, std::to_chars(digits, digits + sizeof digits, value, std::chars_format::general, 6).ptr};
}

}  // namespace detail

LODESTONE_INLINE needle_form needle_form::compact(const std::string& asks) {
  return {.fact = "{{key}={value}}",
          .question = asks + "{{key}=",
          .several = asks + "{{key}=",
          .answer = "{value}",
          .prompt = "{context}{question}",
          .letters = true,
          .digits = 5};
}

LODESTONE_INLINE needle::needle(haystack hay, token_count count, needle_options options, needle_form form)
    : hay_(std::move(hay)), count_(std::move(count)), options_(std::move(options)), form_(std::move(form)) {
  const auto refuse = [&](std::string_view what, const char* key, std::string_view remedy) {
    throw config_error(what, options_.name + " " + key, remedy);
  };
  if (options_.lengths.empty()) refuse("names no length", "lengths", "give lengths in tokens");
  if (options_.depths.empty()) refuse("names no depth", "depths", "give percentages from 0 to 100");
  for (const double depth : options_.depths)
    if (!(depth >= 0.0 && depth <= 100.0)) refuse("must lie in [0, 100]", "depths", "depths are percentages");
  if (options_.repeats < 1) refuse("must be at least 1", "repeats", "");
  if (options_.values < 1) refuse("must be at least 1", "values", "");
  if (options_.others < 0) refuse("must not be negative", "others", "");
  if (form_.digits < 1 || form_.digits > 18) refuse("must lie in [1, 18]", "digits", "");
  if (options_.max_new_tokens < 1) refuse("must be at least 1", "max_new_tokens", "");
  const auto need_slot = [&](const std::string& text, std::string_view slot, const char* key) {
    if (text.find(slot) == std::string::npos) refuse("lacks " + std::string(slot), key, "write it where it belongs");
  };
  need_slot(form_.prompt, "{context}", "prompt");
  need_slot(form_.prompt, "{question}", "prompt");
  const bool varies = form_.fact.find("{value}") != std::string::npos;
  if (varies != (form_.answer.find("{value}") != std::string::npos))
    refuse("{value} must stand in both the fact and the answer, or in neither", "answer", "write what the fact says");
  if (!varies && (options_.values > 1 || options_.others > 0))
    refuse("a fact without {value} stands alone", "values", "write {value} in the fact, or ask for one value");
  if (options_.others > 0) need_slot(form_.fact, "{key}", "fact");
  if (!varies && hay_.contains(form_.fact)) refuse("stands in the text already", "fact", "use another text");

  // Some more sentences than the longest prompt can hold are the text: a shelf of books is not counted for a short one.
  const std::int64_t longest = *std::max_element(options_.lengths.begin(), options_.lengths.end());
  const std::int64_t enough = options_.repeats > 1 ? 4 * longest : longest;
  const std::int64_t around = count_("");
  tokens_.assign(1, 0);
  while (tokens_.size() <= hay_.size() && tokens_.back() <= enough) {
    const haystack::piece piece = hay_[tokens_.size() - 1];
    const std::int64_t own = count_(std::string(piece.sentence).append(piece.space)) - around;
    tokens_.push_back(tokens_.back() + std::max<std::int64_t>(own, 1));
  }
  for (std::size_t i = 0; i < size(); ++i) {
    const std::int64_t bare = count_(compose(draw(i), depth_of(i), 0));
    if (bare > length_of(i))
      refuse("a prompt of " + std::to_string(length_of(i)) + " tokens has no room for its words alone, which are " +
                 std::to_string(bare),
             "lengths", "ask for longer prompts");
  }
}

LODESTONE_INLINE std::size_t needle::size() const {
  return options_.lengths.size() * options_.depths.size() * static_cast<std::size_t>(options_.repeats);
}

LODESTONE_INLINE std::int64_t needle::length_of(std::size_t i) const {
  return options_.lengths[i / static_cast<std::size_t>(options_.repeats) / options_.depths.size()];
}

LODESTONE_INLINE double needle::depth_of(std::size_t i) const {
  return options_.depths[i / static_cast<std::size_t>(options_.repeats) % options_.depths.size()];
}

LODESTONE_INLINE needle::drawn needle::draw(std::size_t i) const {
  random_stream random(options_.seed, random_purpose::synthesis, 5, i);
  const auto others = static_cast<std::size_t>(options_.others);
  const auto values = static_cast<std::size_t>(options_.values);
  std::vector<std::string> keys = form_.letters ? draw_letter_keys(1 + others, random) : draw_keys(1 + others, random);
  std::vector<std::string> numbers;
  for (int attempt = 0; attempt < 100; ++attempt) {  // a text full of numbers may hold one by chance
    numbers = draw_numbers(values + others, form_.digits, random);
    if (std::none_of(numbers.begin(), numbers.end(), [&](const std::string& n) { return hay_.contains(n); })) break;
  }
  drawn what{.key = keys.front(), .values = {numbers.begin(), numbers.begin() + options_.values}};
  for (std::size_t k = 0; k < others; ++k) {
    what.other_facts.push_back(detail::with_fact(form_.fact, keys[1 + k], numbers[values + k]));
    what.other_depths.push_back(100.0 * random.uniform());
  }
  // The first question of a cell begins where the text does, as the published tests do.
  if (i % static_cast<std::size_t>(options_.repeats) != 0) what.first = random.below(sentences());
  return what;
}

LODESTONE_INLINE std::vector<std::string> needle::expected(std::size_t i) const {
  std::vector<std::string> all;
  const drawn what = draw(i);
  for (const std::string& value : what.values) all.push_back(detail::with_fact(form_.answer, what.key, value));
  return all;
}

LODESTONE_INLINE std::vector<std::string> needle::facts(std::size_t i) const {
  std::vector<std::string> all;
  const drawn what = draw(i);
  for (const std::string& value : what.values) all.push_back(detail::with_fact(form_.fact, what.key, value));
  return all;
}

LODESTONE_INLINE std::int64_t needle::estimate(std::size_t first, std::size_t n) const {
  const auto before = [&](std::size_t k) {
    return static_cast<std::int64_t>(k / sentences()) * tokens_.back() + tokens_[k % sentences()];
  };
  return before(first + n) - before(first);
}

LODESTONE_INLINE std::string needle::compose(const drawn& what, double depth, std::size_t sentences) const {
  struct placed {
    std::size_t behind;  // sentences in front of it
    std::string fact;
  };
  const std::int64_t all = estimate(what.first, sentences);
  const auto place = [&](double percent) {
    const auto limit = static_cast<std::int64_t>(std::floor(percent / 100.0 * static_cast<double>(all) + 1e-9));
    std::size_t low = 0, high = sentences;  // the most sentences whose tokens stay within the limit
    while (low < high) {
      const std::size_t middle = (low + high + 1) / 2;
      if (estimate(what.first, middle) <= limit)
        low = middle;
      else
        high = middle - 1;
    }
    return low;
  };
  std::vector<placed> needles;
  for (std::size_t k = 0; k < what.values.size(); ++k) {
    double at = depth + 100.0 * static_cast<double>(k) / static_cast<double>(what.values.size());
    if (k > 0 && at > 100.0) at -= 100.0;
    needles.push_back({place(at), detail::with_fact(form_.fact, what.key, what.values[k])});
  }
  for (std::size_t k = 0; k < what.other_facts.size(); ++k)
    needles.push_back({place(what.other_depths[k]), what.other_facts[k]});
  std::stable_sort(needles.begin(), needles.end(),
                   [](const placed& a, const placed& b) { return a.behind < b.behind; });

  std::string context;
  auto next = needles.begin();
  const auto insert = [&](std::size_t behind, bool is_spaced) {
    for (; next != needles.end() && next->behind == behind; ++next) {
      if (is_spaced && !context.empty()) context += ' ';
      context += next->fact;
      is_spaced = true;
    }
  };
  insert(0, true);
  if (!context.empty() && sentences > 0) context += ' ';
  for (std::size_t k = 0; k < sentences; ++k) {
    const haystack::piece piece = hay_[(what.first + k) % this->sentences()];
    context.append(piece.sentence);
    insert(k + 1, !piece.space.empty());
    if (k + 1 < sentences) context.append(piece.space);
  }
  const std::string& asked = what.values.size() > 1 ? form_.several : form_.question;
  // The question first: what the text holds is never taken for a slot.
  return fill_slot(fill_slot(form_.prompt, "{question}", fill_slot(asked, "{key}", what.key)), "{context}", context);
}

LODESTONE_INLINE std::string needle::id(std::size_t i) const {
  return std::to_string(length_of(i)) + "/" + detail::short_number(depth_of(i)) + "/" +
         std::to_string(i % static_cast<std::size_t>(options_.repeats));
}

LODESTONE_INLINE question needle::ask(std::size_t i) const {
  const drawn what = draw(i);
  const double depth = depth_of(i);
  const std::int64_t length = length_of(i);
  const auto tokens = [&](std::size_t n) { return count_(compose(what, depth, n)); };

  // Counted alone sentences need about as many tokens as in their text: a few whole counts find the number that fits.
  std::size_t fits = 0;
  for (int round = 0; round < 8; ++round) {
    const std::int64_t room = length - tokens(fits);
    std::size_t step = 0;
    if (room >= 0) {
      while (estimate(what.first + fits, step + 1) <= room) ++step;
      fits += step;
    } else {
      while (step < fits && estimate(what.first + fits - step, step) < -room) ++step;
      fits -= step;
    }
    if (step == 0) break;
  }
  while (fits > 0 && tokens(fits) > length) --fits;
  while (tokens(fits + 1) <= length) ++fits;

  question asked{.id = id(i),
                 .prompt = compose(what, depth, fits),
                 .is_chat = options_.is_chat,
                 .max_new_tokens = options_.max_new_tokens,
                 .stop = options_.stop,
                 .labels = {{"length", std::to_string(length)}, {"depth", detail::short_number(depth)}}};
  return asked;
}

LODESTONE_INLINE std::vector<score> needle::mark(std::size_t i, std::string_view answer) const {
  const std::vector<std::string> all = expected(i);
  const auto found = std::count_if(all.begin(), all.end(), [&](const auto& one) { return holds_words(answer, one); });
  const double share = static_cast<double>(found) / static_cast<double>(all.size());
  std::string together;
  for (const std::string& one : all) together.append(together.empty() ? "" : " ").append(one);
  const std::size_t begin = std::min(answer.find_first_not_of(" \n\t\r"), answer.size());
  const std::string_view line = answer.substr(begin, answer.find('\n', begin) - begin);
  const std::vector<rouge_text> reference{rouge_words(together)};
  return {{.metric = "found", .value = share},
          {.metric = "exact_match", .value = share == 1.0 ? 1.0 : 0.0},
          {.metric = "rouge1_precision", .value = rouge_n(rouge_words(line), reference, 1).precision}};
}

LODESTONE_INLINE std::vector<chat_message> judged_needle::judge(std::size_t i, std::string_view answer,
                                                                std::int64_t) const {
  std::string facts;
  for (const std::string& fact : asked_->facts(i)) facts.append(facts.empty() ? "" : " ").append(fact);
  return {{.role = chat_role::user,
           .content = "A model was asked about facts in a long text. Compare its answer with the facts and rate it.\n\n"
                      "1: the answer has nothing to do with the facts.\n"
                      "3: it touches on them, but most of what they say is missing or wrong.\n"
                      "5: it is partly right.\n"
                      "7: it is right, but small parts are missing or something is added.\n"
                      "10: it is right and complete.\n\n"
                      "Give the rating as a number in double square brackets, for example [[5]].\n\n"
                      "Facts: " +
                      facts + "\n\nAnswer: " + std::string(answer)}};
}

LODESTONE_INLINE std::optional<double> judged_needle::rating(std::string_view reply) {
  for (std::size_t at = reply.rfind("[["); at != std::string_view::npos;
       at = at == 0 ? at : reply.rfind("[[", at - 1)) {
    double value = 0.0;
    const char* const end = reply.data() + reply.size();
    const auto read = std::from_chars(reply.data() + at + 2, end, value);
    if (read.ec == std::errc{} &&
        std::string_view(read.ptr, static_cast<std::size_t>(end - read.ptr)).starts_with("]]"))
      return value >= 1.0 && value <= 10.0 ? std::optional<double>(value) : std::nullopt;
    if (at == 0) break;
  }
  return std::nullopt;
}

LODESTONE_INLINE std::vector<score> judged_needle::marks(std::size_t, double rating) {
  return {{.metric = "rating", .value = rating}};
}

LODESTONE_INLINE bool holds_words(std::string_view text, std::string_view part) {
  const auto small = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  const auto is_word = [&](char c) { return (small(c) >= 'a' && small(c) <= 'z') || (c >= '0' && c <= '9'); };
  if (part.empty()) return true;
  for (std::size_t at = 0; at + part.size() <= text.size(); ++at) {
    if (!std::equal(part.begin(), part.end(), text.begin() + static_cast<std::ptrdiff_t>(at),
                    [&](char a, char b) { return small(a) == small(b); }))
      continue;
    const std::size_t end = at + part.size();
    if (at > 0 && is_word(part.front()) && is_word(text[at - 1])) continue;
    if (end < text.size() && is_word(part.back()) && is_word(text[end])) continue;
    return true;
  }
  return false;
}

}  // namespace lodestone::eval
