// Definitions of summary.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstdio>

#include <lodestone/core/inline.hpp>
#include <lodestone/data/summary.hpp>

namespace lodestone {

LODESTONE_INLINE void data_summary::add(const data_summary& other) {
  for (std::int64_t data_summary::* field :
       {&data_summary::records, &data_summary::conversations, &data_summary::documents, &data_summary::skipped,
        &data_summary::over_long_dropped, &data_summary::truncated, &data_summary::split, &data_summary::split_parts,
        &data_summary::without_targets_dropped, &data_summary::without_targets_kept, &data_summary::examples,
        &data_summary::tokens, &data_summary::targets, &data_summary::unknown_tokens, &data_summary::tokens_read,
        &data_summary::empty_answers, &data_summary::unanswered_turns, &data_summary::leading_dropped,
        &data_summary::joined_turns, &data_summary::doubled_bos, &data_summary::literal_tokens, &data_summary::groups,
        &data_summary::answers, &data_summary::seams}) {
    this->*field += other.*field;
  }
  longest = std::max(longest, other.longest);
  for (const std::string& fault : other.faults) {
    if (faults.size() < most_faults) faults.push_back(fault);
  }
}

LODESTONE_INLINE double data_summary::unknown_share() const {
  return tokens_read == 0 ? 0.0 : static_cast<double>(unknown_tokens) / static_cast<double>(tokens_read);
}

LODESTONE_INLINE std::vector<std::string> data_summary::warnings() const {
  std::vector<std::string> result;
  if (unknown_share() > 0.01) {
    result.push_back(percent(unknown_share()) +
                     " of the tokens are <unk>: the tokenizer does not know this text; above 1% a model learns "
                     "little from it");
  }
  if (doubled_bos > 0) {
    result.push_back(std::to_string(doubled_bos) +
                     " begin-of-sequence tokens stood twice and were removed: the data carries the token that the "
                     "tokenizer adds");
  }
  if (skipped > 0) {
    result.push_back(std::to_string(skipped) + " faulty records were skipped; first: " + first_fault());
  }
  if (over_long_dropped > 0) {
    result.push_back(std::to_string(over_long_dropped) + " of " + std::to_string(records) +
                     " records were too long and dropped");
  }
  if (without_targets_dropped > 0) {
    result.push_back(std::to_string(without_targets_dropped) + " examples had nothing to train on and were dropped");
  }
  if (without_targets_kept > 0) {
    result.push_back(std::to_string(without_targets_kept) +
                     " examples have nothing to train on; they cost time and leave the loss unchanged");
  }
  if (literal_tokens > 0) {
    result.push_back(std::to_string(literal_tokens) +
                     " control tokens in the content were kept as characters (content = \"parse\" reads them as "
                     "tokens)");
  }
  return result;
}

LODESTONE_INLINE std::string data_summary::to_text() const {
  std::string text;
  const auto line = [&](const char* name, std::int64_t value, bool always = false) {
    if (value != 0 || always) text += std::string(name) + ": " + std::to_string(value) + "\n";
  };
  line("records", records, true);
  line("conversations", conversations);
  line("documents", documents);
  line("skipped (faulty)", skipped);
  line("dropped (too long)", over_long_dropped);
  line("dropped (nothing to train on)", without_targets_dropped);
  line("truncated", truncated);
  line("split", split);
  line("parts of split records", split_parts);
  line("examples", examples, true);
  line("preference groups", groups);
  line("answers in them", answers);
  line("answers whose joint tokenisation would differ", seams);
  line("examples without targets", without_targets_kept);
  line("tokens", tokens, true);
  line("targets", targets, true);
  line("longest example", longest, true);
  line("empty answers masked", empty_answers);
  line("turns after the last answer left out", unanswered_turns);
  line("assistant turns before the first question left out", leading_dropped);
  line("turns joined", joined_turns);
  line("doubled begin tokens removed", doubled_bos);
  line("control tokens kept as characters", literal_tokens);
  text += "unknown tokens: " + std::to_string(unknown_tokens) + " (" + percent(unknown_share()) + ")\n";
  return text;
}

LODESTONE_INLINE std::string data_summary::percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f%%", 100.0 * share);
  return text;
}

}  // namespace lodestone

