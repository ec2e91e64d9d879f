// Definitions of record_json.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/record_json.hpp>
#include <lodestone/text/json_place.hpp>

namespace lodestone::eval {

LODESTONE_INLINE std::string log_id(std::string_view task, std::string_view id) {
  return std::string(task).append("/").append(id);
}

LODESTONE_INLINE std::string to_json_line(const task_record& r) {
  using json = nlohmann::ordered_json;
  json line{{"id", r.own.id}, {"task", r.task}, {"labels", json::object()}, {"scores", json::object()}};
  for (const label& l : r.own.labels) line["labels"][l.name] = l.value;
  json weights = json::object();
  for (const score& s : r.own.scores) {
    if (!std::isfinite(s.value) || !std::isfinite(s.weight) || s.weight < 0.0)
      throw numeric_error("the score " + s.metric + " is no finite number, or its weight is negative", r.own.id);
    line["scores"][s.metric] = s.value;
    if (s.weight != 1.0) weights[s.metric] = s.weight;
  }
  if (!weights.empty()) line["weights"] = std::move(weights);
  line["answer"] = r.own.answer;
  if (!r.own.error.empty()) line["error"] = r.own.error;
  // A model may give half a character: it becomes U+FFFD.
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

LODESTONE_INLINE task_record read_task_record(std::string_view line, std::string_view where) {
  nlohmann::ordered_json parsed;
  try {
    parsed = nlohmann::ordered_json::parse(line);
  } catch (const nlohmann::json::exception&) {
    throw format_error("is not JSON", where, "remove the line");
  }
  const nlohmann::json document = parsed;  // members by name; the order of labels and scores is that of `parsed`
  const text::detail::json_place place(document, std::string(where));
  task_record r;
  r.own.id = place.need("id").text();
  r.task = place.need("task").text();
  const auto labels = place.need("labels");
  const auto scores = place.need("scores");
  labels.expect_object();
  scores.expect_object();
  for (const auto& [name, value] : parsed["labels"].items())
    r.own.labels.push_back({name, std::string(labels.need(name.c_str()).text())});
  const auto weights = place.get("weights");
  for (const auto& [name, value] : parsed["scores"].items()) {
    score own{.metric = name, .value = scores.need(name.c_str()).number()};
    if (weights.is_present())
      if (const auto weight = weights.get(name.c_str()); weight.is_present()) own.weight = weight.number();
    r.own.scores.push_back(std::move(own));
  }
  if (const auto answer = place.get("answer"); answer.is_present()) r.own.answer = answer.text();
  if (const auto error = place.get("error"); error.is_present()) r.own.error = error.text();
  return r;
}

}  // namespace lodestone::eval
