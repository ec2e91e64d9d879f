// Definitions of long_perplexity.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/json_fields.hpp>
#include <lodestone/eval/long_perplexity.hpp>
#include <lodestone/text/jsonl.hpp>

namespace lodestone::eval {

namespace detail {

/// Throws unless every range is one, and none begins before the end of the one before.
inline void require_ascending(const text_ranges& ranges, const std::string& where) {
  std::int64_t last = 0;
  for (const text::span_of_text& own : ranges) {
    if (own.begin < last || own.end < own.begin)
      throw data_error("the range [" + std::to_string(own.begin) + ", " + std::to_string(own.end) +
                           "] does not follow the one before",
                       where, "ranges are [first, last + 1] in characters, in the order of the text");
    last = own.end;
  }
}

/// Adds the document to what a message says.
template <class Run>
auto naming(const std::string& id, const Run& run) {
  try {
    return run();
  } catch (const data_error& failure) {
    throw data_error(failure.what(), "document " + id);
  }
}

}  // namespace detail

LODESTONE_INLINE text_ranges token_places(const tokenizer& words, std::span<const std::int32_t> ids,
                                          std::string_view text, token_edges edges) {
  text_ranges spans = text::token_spans(words, ids, text);
  if (edges == token_edges::trimmed)
    for (text::span_of_text& own : spans) {
      const auto is_space = [&](std::int64_t at) { return text[static_cast<std::size_t>(at)] == ' '; };
      while (own.begin < own.end && is_space(own.begin)) ++own.begin;
      while (own.end > own.begin && is_space(own.end - 1)) --own.end;
    }
  return text::in_characters(spans, text);
}

LODESTONE_INLINE text_ranges key_ranges(const any_scoring_model& model, const tokenizer& words, std::string_view text,
                                        const key_token_options& options) {
  if (options.context < 1) throw config_error("must be at least 1", "key tokens: context");
  if (options.step < 1) throw config_error("must be at least 1", "key tokens: step");
  const std::vector<std::int32_t> prefix = words.prefix();
  const std::vector<std::int32_t> ids = words.encode(text, false);
  std::vector<std::int32_t> tokens = prefix;
  tokens.insert(tokens.end(), ids.begin(), ids.end());
  const auto length = static_cast<std::int64_t>(tokens.size());
  text_ranges keys;
  if (length <= options.context) return keys;
  const text_ranges places = token_places(words, ids, text, options.edges);

  const std::vector<double> whole = score_tail(model, tokens, options.context);  // of tokens context .. length - 1
  std::vector<double> brief;
  brief.reserve(whole.size());
  const std::span<const std::int32_t> all(tokens);
  score_groups(
      model,
      [&](std::size_t i, scored_group& group) {
        const std::int64_t begin = static_cast<std::int64_t>(i) * options.step;
        if (begin + options.context >= length) return false;
        const std::int64_t end = std::min(begin + options.context + options.step, length);
        group.assign(
            1, {all.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)), options.context});
        return true;
      },
      options.batch_tokens,
      [&](std::size_t, const std::vector<std::vector<double>>& scores) {
        brief.insert(brief.end(), scores.front().begin(), scores.front().end());
      });
  for (std::size_t k = 0; k < whole.size(); ++k) {
    if (!(-brief[k] + whole[k] > options.gain && -whole[k] < options.loss)) continue;
    const auto place = options.context + static_cast<std::int64_t>(k) - static_cast<std::int64_t>(prefix.size());
    if (place < 0) continue;  // one of the first special tokens
    const text::span_of_text& own = places[static_cast<std::size_t>(place)];
    if (!keys.empty() && keys.back().end == own.begin)
      keys.back().end = own.end;
    else
      keys.push_back(own);
  }
  return keys;
}

LODESTONE_INLINE std::vector<std::int64_t> key_tokens(std::span<const text::span_of_text> tokens,
                                                      std::span<const text::span_of_text> keys) {
  std::vector<std::int64_t> result;
  std::size_t key = 0;
  for (std::size_t i = 0; i < tokens.size() && key < keys.size();) {
    if (tokens[i].begin >= keys[key].begin && tokens[i].end <= keys[key].end)
      result.push_back(static_cast<std::int64_t>(i++));
    else if (tokens[i].begin < keys[key].begin)
      ++i;
    else
      ++key;
  }
  return result;
}

LODESTONE_INLINE std::string key_line(std::string_view id, std::span<const text::span_of_text> keys) {
  nlohmann::ordered_json line;
  line["id"] = id;
  line["keys"] = nlohmann::ordered_json::array();
  for (const text::span_of_text& own : keys) line["keys"].push_back({own.begin, own.end});
  return line.dump();
}

LODESTONE_INLINE std::map<std::string, text_ranges> read_keys(const std::filesystem::path& file) {
  std::map<std::string, text_ranges> result;
  jsonl_reader reader(file);
  for (json_record record; reader.next(record);) {
    const std::string where = reader.where(record.line);
    const detail::json_fields fields = detail::json_fields::parse(record.text, where);
    text_ranges ranges;
    for (const auto& [begin, end] : fields.pairs("keys")) ranges.push_back({begin, end});
    detail::require_ascending(ranges, where);
    const std::string id = fields.id("");
    if (id.empty()) fields.fail("\"id\" is missing", "give the id of the document");
    if (!result.emplace(id, std::move(ranges)).second) fields.fail("the id '" + id + "' repeats");
  }
  return result;
}

LODESTONE_INLINE text_ranges read_published_keys(const std::filesystem::path& file) {
  std::string text = read_text(file);
  std::replace(text.begin(), text.end(), ';', ',');
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  const std::string where = source_line(file.string(), 1);
  const std::string object = "{\"keys\": [" + text + "]}";
  text_ranges ranges;
  for (const auto& [begin, end] : detail::json_fields::parse(object, where).pairs("keys"))
    ranges.push_back({begin, end});
  detail::require_ascending(ranges, where);
  return ranges;
}

LODESTONE_INLINE void long_perplexity(const any_scoring_model& model, const tokenizer& words,
                                      std::span<const text_document> documents, const key_source& keys,
                                      const long_perplexity_options& options, const record_listener& each) {
  for (const text_document& own : documents) {
    if (options.is_done && options.is_done(own.id)) continue;
    const std::vector<std::int32_t> ids = words.encode(own.text, false);
    std::vector<std::int32_t> tokens = options.first_tokens ? words.prefix() : std::vector<std::int32_t>{};
    const auto before = static_cast<std::int64_t>(tokens.size());
    tokens.insert(tokens.end(), ids.begin(), ids.end());
    if (tokens.size() < 2)
      throw data_error("has fewer than two tokens, so nothing to predict", "document " + own.id, "leave it out");
    const std::vector<std::int64_t> chosen = detail::naming(
        own.id, [&] { return key_tokens(token_places(words, ids, own.text, options.edges), keys(own)); });
    const std::vector<double> log_probs = score_tail(model, tokens);
    double sum = 0.0;
    for (const double value : log_probs) sum -= value;
    if (!std::isfinite(sum))
      throw numeric_error("a log-probability is not finite", "document " + own.id,
                          "look at the model's weights and their type");
    double key_sum = 0.0;
    double count = 0.0;
    for (const std::int64_t token : chosen) {
      if (before + token == 0) continue;  // nothing comes before it
      key_sum -= log_probs[static_cast<std::size_t>(before + token - 1)];
      count += 1.0;
    }
    record result{.id = own.id};
    const auto total = static_cast<double>(log_probs.size());
    result.scores.push_back({"nll", sum / total, total});
    if (count > 0.0) result.scores.push_back({"key_nll", key_sum / count, count});
    each(std::move(result));
  }
}

}  // namespace lodestone::eval
