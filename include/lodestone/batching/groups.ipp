// Definitions of groups.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <unordered_map>
#include <utility>

#include <lodestone/batching/groups.hpp>
#include <lodestone/core/inline.hpp>

namespace lodestone::batching {

LODESTONE_INLINE std::vector<answer_group> group_answers(std::span<const example_shape> shapes) {
  std::vector<answer_group> groups;
  std::unordered_map<std::int64_t, std::size_t> place_of;  // of each group's number
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const example_shape& shape = shapes[i];
    const auto refuse = [&](const std::string& what, const std::string& remedy) {
      throw data_error(what, "example " + std::to_string(i), remedy);
    };
    if (shape.group == no_group)
      refuse("belongs to no preference group", "prepare data with chosen and rejected answers");
    if (shape.prompt < 1 || shape.prompt >= shape.length)
      refuse("has a prompt of " + std::to_string(shape.prompt) + " of its " + std::to_string(shape.length) +
                 " tokens: prompt and answer need at least one each",
             "say where the prompt ends (example_view::prompt)");
    const auto [found, is_new] = place_of.try_emplace(shape.group, groups.size());
    if (is_new) groups.push_back({{}, shape.prompt, 0});
    answer_group& group = groups[found->second];
    if (group.prompt != shape.prompt)
      refuse("has a prompt of " + std::to_string(shape.prompt) + " tokens, the other answers of its group one of " +
                 std::to_string(group.prompt),
             "give all answers of a group the same prompt");
    group.examples.push_back(static_cast<std::int64_t>(i));
    group.answers += shape.length - shape.prompt;
  }
  const auto role = [&](std::int64_t example) { return shapes[static_cast<std::size_t>(example)].role; };
  for (answer_group& group : groups) {
    std::ranges::stable_sort(group.examples, {}, role);
    const std::string where = "example " + std::to_string(group.examples.front());
    if (role(group.examples.front()) != 0)
      throw data_error("its preference group has no chosen answer", where, "give one answer role 0");
    if (group.examples.size() < 2)
      throw data_error("its preference group has no rejected answer", where, "give at least one");
    if (role(group.examples[1]) == 0)
      throw data_error("its preference group has more than one chosen answer", where,
                       "give the rejected answers roles above 0");
  }
  return groups;
}

namespace detail {

LODESTONE_INLINE epoch_plan expand_groups(const epoch_plan& groups, std::span<const answer_group> of,
                                          arrangement arranged) {
  epoch_plan plan;
  for (const step_plan& step : groups.steps) {
    step_plan& own = plan.steps.emplace_back();
    for (const micro_batch& batch : step.micro_batches) {
      micro_batch& answers = own.micro_batches.emplace_back(micro_batch{{}, arranged});
      for (const std::int64_t group : batch.examples) {
        const auto& examples = of[static_cast<std::size_t>(group)].examples;
        answers.examples.insert(answers.examples.end(), examples.begin(), examples.end());
      }
    }
  }
  return plan;
}

}  // namespace detail

}  // namespace lodestone::batching
