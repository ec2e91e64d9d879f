// Definitions of ask.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/synthesis/ask.hpp>

namespace lodestone::synthesis {

LODESTONE_INLINE ask_counts& ask_counts::operator+=(const ask_counts& other) {
  items += other.items;
  done_before += other.done_before;
  asked += other.asked;
  failed.insert(failed.end(), other.failed.begin(), other.failed.end());
  return *this;
}

LODESTONE_INLINE ask_counts ask(const generate::any_generator& model, const ask_items& items, std::string_view stage,
                                result_log& log, const ask_options& options) {
  ask_counts counts{.items = static_cast<std::int64_t>(items.ids.size())};
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < items.ids.size(); ++i)
    if (!log.contains(items.ids[i])) open.push_back(i);
  counts.asked = static_cast<std::int64_t>(open.size());
  counts.done_before = counts.items - counts.asked;
  std::int64_t done = counts.done_before;
  const auto at_once = static_cast<std::size_t>(std::max<std::int64_t>(options.at_once, 1));
  for (std::int64_t attempt = 0; !open.empty(); ++attempt) {
    const bool is_last = attempt + 1 >= options.attempts;
    std::vector<std::size_t> again;  // answers without the form that was asked for
    for (std::size_t begin = 0; begin < open.size(); begin += at_once) {
      const std::size_t end = std::min(begin + at_once, open.size());
      std::vector<generate::request> requests;
      for (std::size_t k = begin; k < end; ++k) {
        std::string key = std::string(stage) + "\n" + items.ids[open[k]];
        if (attempt > 0) key += "\n" + std::to_string(attempt);
        generate::request& one = requests.emplace_back(items.request(open[k]));
        one.max_new_tokens = options.max_new_tokens;
        one.min_new_tokens = options.min_new_tokens;
        one.stop = options.stop;
        one.draw = options.draw;
        one.draw.seed = seed_of(options.seed, random_purpose::synthesis, key);
      }
      model.generate(requests, [&](std::size_t k, generate::answer&& answer) {
        const std::size_t item = open[begin + k];
        const bool is_answered = answer.why != generate::finish::failed;
        const std::string line = is_answered ? items.line(item, answer) : std::string();
        if (line.empty() && is_answered && !is_last) return again.push_back(item);
        if (!line.empty()) {
          log.append(items.ids[item], line);
        } else {
          if (is_answered) answer.error = "the answer has not the form that was asked for";
          counts.failed.push_back({items.ids[item], answer.error.empty() ? "no answer" : std::move(answer.error)});
        }
        ++done;
        if (options.progress) options.progress(stage, done, counts.items);
      });
    }
    std::sort(again.begin(), again.end());
    open = std::move(again);
  }
  return counts;
}

}  // namespace lodestone::synthesis
