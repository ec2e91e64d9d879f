// Definitions of table.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <map>
#include <optional>

#include <nlohmann/json.hpp>

#include <lodestone/core/error.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/eval/table.hpp>
#include <lodestone/train/recorders/format.hpp>

namespace lodestone::eval {

namespace detail {

[[nodiscard]] LODESTONE_INLINE const std::string* value_of(const record& r, std::string_view name) {
  const auto found = std::find_if(r.labels.begin(), r.labels.end(), [&](const label& l) { return l.name == name; });
  return found == r.labels.end() ? nullptr : &found->value;
}

/// 1024, 12.5, 8k, 4-8k (its first number), 8k+.
[[nodiscard]] LODESTONE_INLINE std::optional<double> leading_number(std::string_view text) {
  double value = 0.0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc{}) return std::nullopt;
  std::string_view rest(read.ptr, static_cast<std::size_t>(text.data() + text.size() - read.ptr));
  if (rest.starts_with('k')) {
    value *= 1000.0;
    rest.remove_prefix(1);
  }
  if (!rest.empty() && rest != "+" && rest.front() != '-') return std::nullopt;
  return value;
}

[[nodiscard]] LODESTONE_INLINE table_row row_of(std::string task, std::vector<label> labels,
                                                std::span<const record> records) {
  table_row row{.task = std::move(task), .labels = std::move(labels), .records = std::ssize(records)};
  row.failed = std::count_if(records.begin(), records.end(), [](const record& r) { return r.scores.empty(); });
  row.scores = mean_scores(records);
  return row;
}

template <class Choose>
[[nodiscard]] std::vector<record> chosen(const task_result& result, const Choose& choose) {
  std::vector<record> some;
  std::copy_if(result.records.begin(), result.records.end(), std::back_inserter(some), choose);
  return some;
}

[[nodiscard]] LODESTONE_INLINE nlohmann::ordered_json scores_json(const table_row& row) {
  nlohmann::ordered_json scores = nlohmann::ordered_json::object();
  for (const mean_score& s : row.scores)
    scores[s.metric] = {
        {"mean", s.mean}, {"standard_error", s.standard_error}, {"records", s.records}, {"weight", s.weight}};
  return {{"records", row.records}, {"failed", row.failed}, {"scores", std::move(scores)}};
}

[[nodiscard]] LODESTONE_INLINE std::string csv_cell(std::string_view text) {
  if (text.find_first_of(",\"\n\r") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + "\"";
}

/// Characters that a terminal shows: continuation bytes take no room.
[[nodiscard]] LODESTONE_INLINE std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace detail

LODESTONE_INLINE std::vector<mean_score> mean_scores(std::span<const record> records) {
  std::vector<mean_score> means;
  const auto each = [&](const auto& use) {
    for (const record& r : records)
      for (const score& s : r.scores)
        if (s.weight > 0.0) use(s);
  };
  const auto find = [&](const std::string& metric) -> mean_score& {
    const auto found =
        std::find_if(means.begin(), means.end(), [&](const mean_score& m) { return m.metric == metric; });
    return found != means.end() ? *found : means.emplace_back(mean_score{.metric = metric});
  };
  each([&](const score& s) {
    mean_score& own = find(s.metric);
    own.mean += s.weight * s.value;
    own.weight += s.weight;
    ++own.records;
  });
  for (mean_score& own : means) own.mean /= own.weight;
  each([&](const score& s) {
    mean_score& own = find(s.metric);
    own.standard_error += s.weight * s.weight * (s.value - own.mean) * (s.value - own.mean);
  });
  for (mean_score& own : means) {
    const auto n = static_cast<double>(own.records);
    own.standard_error = own.records < 2 ? 0.0 : std::sqrt(n / (n - 1.0) * own.standard_error) / own.weight;
  }
  const auto nll = std::find_if(means.begin(), means.end(), [](const mean_score& m) { return m.metric == "nll"; });
  if (nll != means.end()) {
    mean_score perplexity = *nll;
    perplexity.metric = "perplexity";
    perplexity.mean = std::exp(nll->mean);
    perplexity.standard_error = perplexity.mean * nll->standard_error;
    means.insert(nll + 1, std::move(perplexity));
  }
  return means;
}

LODESTONE_INLINE std::vector<std::string> values_of(const task_result& result, std::string_view name) {
  std::vector<std::string> values;
  bool all_numbers = true;
  for (const record& r : result.records) {
    const std::string* value = detail::value_of(r, name);
    if (value == nullptr || std::find(values.begin(), values.end(), *value) != values.end()) continue;
    all_numbers = all_numbers && detail::leading_number(*value).has_value();
    values.push_back(*value);
  }
  if (all_numbers)
    std::stable_sort(values.begin(), values.end(), [](const std::string& a, const std::string& b) {
      return *detail::leading_number(a) < *detail::leading_number(b);
    });
  return values;
}

LODESTONE_INLINE std::vector<table_row> table_of(std::span<const task_result> results) {
  std::vector<table_row> rows;
  for (const task_result& result : results) {
    rows.push_back(detail::row_of(result.task, {}, result.records));
    std::vector<std::string> names;
    for (const record& r : result.records)
      for (const label& l : r.labels)
        if (std::find(names.begin(), names.end(), l.name) == names.end()) names.push_back(l.name);
    for (const std::string& name : names)
      for (const std::string& value : values_of(result, name))
        rows.push_back(detail::row_of(result.task, {{name, value}}, detail::chosen(result, [&](const record& r) {
                                        const std::string* own = detail::value_of(r, name);
                                        return own != nullptr && *own == value;
                                      })));
  }
  return rows;
}

LODESTONE_INLINE std::vector<table_row> cross_table(const task_result& result, std::string_view down,
                                                    std::string_view across) {
  std::vector<table_row> rows;
  const std::vector<std::string> columns = values_of(result, across);
  for (const std::string& y : values_of(result, down))
    for (const std::string& x : columns) {
      const auto some = detail::chosen(result, [&](const record& r) {
        const std::string* own_y = detail::value_of(r, down);
        const std::string* own_x = detail::value_of(r, across);
        return own_y != nullptr && own_x != nullptr && *own_y == y && *own_x == x;
      });
      if (!some.empty())
        rows.push_back(detail::row_of(result.task, {{std::string(down), y}, {std::string(across), x}}, some));
    }
  return rows;
}

LODESTONE_INLINE std::string to_text(std::span<const table_row> rows) {
  std::vector<std::vector<std::string>> cells{{"task", "of", "metric", "mean", "s.e.", "n", "failed"}};
  for (const table_row& row : rows) {
    std::string of;
    for (const label& l : row.labels) of.append(of.empty() ? "" : ", ").append(l.name + " " + l.value);
    if (of.empty()) of = "all";
    if (row.scores.empty()) cells.push_back({row.task, of, "-", "-", "-", "0", std::to_string(row.failed)});
    for (const mean_score& s : row.scores)
      cells.push_back({row.task, of, s.metric, format_fixed(s.mean, 4), format_fixed(s.standard_error, 4),
                       std::to_string(s.records), std::to_string(row.failed)});
  }
  std::vector<std::size_t> widths(cells.front().size());
  for (const auto& line : cells)
    for (std::size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], detail::width_of(line[c]));
  std::string text;
  for (const auto& line : cells) {
    std::string own;
    for (std::size_t c = 0; c < line.size(); ++c) {
      const std::string room(widths[c] - detail::width_of(line[c]), ' ');
      own += (c == 0 ? "" : "  ") + (c < 3 ? line[c] + room : room + line[c]);
    }
    text += own + "\n";
  }
  return text;
}

LODESTONE_INLINE std::string to_csv(std::span<const table_row> rows) {
  std::string text = "task,label,value,metric,mean,standard_error,records,failed\n";
  for (const table_row& row : rows) {
    std::string name, value;
    for (const label& l : row.labels) {
      name.append(name.empty() ? "" : " x ").append(l.name);
      value.append(value.empty() ? "" : " x ").append(l.value);
    }
    const std::string begin =
        detail::csv_cell(row.task) + "," + detail::csv_cell(name) + "," + detail::csv_cell(value) + ",";
    for (const mean_score& s : row.scores)
      text += begin + detail::csv_cell(s.metric) + "," + format_exact(s.mean) + "," + format_exact(s.standard_error) +
              "," + std::to_string(s.records) + "," + std::to_string(row.failed) + "\n";
    if (row.scores.empty()) text += begin + ",,,0," + std::to_string(row.failed) + "\n";
  }
  return text;
}

LODESTONE_INLINE std::string to_json(std::span<const table_row> rows,
                                     std::span<const std::pair<std::string, std::string>> settings) {
  using json = nlohmann::ordered_json;
  json document{{"settings", json::object()}, {"tasks", json::array()}};
  for (const auto& [name, value] : settings) {
    document["settings"][name] = json::parse(value, nullptr, false);
    if (document["settings"][name].is_discarded()) throw format_error("is not JSON: " + value, "settings." + name);
  }
  std::map<std::string, std::size_t> places;
  for (const table_row& row : rows) {
    if (row.labels.empty()) {
      places[row.task] = document["tasks"].size();
      json own{{"task", row.task}};
      own.update(detail::scores_json(row));
      own["by"] = json::object();
      document["tasks"].push_back(std::move(own));
    } else if (const auto found = places.find(row.task); found != places.end()) {
      json& by = document["tasks"][found->second]["by"];
      std::string name = row.labels[0].name, value = row.labels[0].value;
      for (std::size_t k = 1; k < row.labels.size(); ++k) {
        name += " x " + row.labels[k].name;
        value += " x " + row.labels[k].value;
      }
      by[name][value] = detail::scores_json(row);
    }
  }
  return document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace lodestone::eval
