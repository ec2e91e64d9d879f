// Definitions of stage_files.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <lodestone/core/file.hpp>
#include <lodestone/core/inline.hpp>
#include <lodestone/synthesis/json_record.hpp>
#include <lodestone/synthesis/stage_files.hpp>

namespace lodestone::synthesis {

LODESTONE_INLINE stage_files::stage_files(std::filesystem::path output, std::string settings)
    : output_(std::move(output)), settings_(std::move(settings)) {
  if (output_.extension() != ".jsonl" || output_.stem().empty())
    throw config_error("\"" + output_.string() + "\" does not end with .jsonl", "output",
                       "give NAME.jsonl: the stages stand beside it as NAME.STAGE.jsonl");
  stem_ = (output_.parent_path() / output_.stem()).string();
}

LODESTONE_INLINE std::filesystem::path stage_files::stage(std::string_view name) const {
  return stem_ + "." + std::string(name) + ".jsonl";
}
LODESTONE_INLINE std::filesystem::path stage_files::log_name(std::string_view name) const {
  return stem_ + "." + std::string(name) + ".log";
}
LODESTONE_INLINE std::filesystem::path stage_files::summary() const { return stem_ + ".summary.json"; }

LODESTONE_INLINE bool stage_files::is_done() const {
  namespace fs = std::filesystem;
  const char* const remedy = "name another output, or remove this one and its summary";
  if (!fs::exists(summary())) {
    if (fs::exists(output_) && !fs::exists(log_name("answers").string() + ".partial"))  // else it was to be finished
      throw config_error("\"" + output_.string() + "\" exists, and no summary says that it was made here", "output",
                         "name another output, or remove the file");
    return false;
  }
  const auto before = nlohmann::ordered_json::parse(read_text(summary()), nullptr, false);
  if (!before.is_object() || !before.contains("settings"))
    throw format_error("is not the summary of a synthesis", summary().string(), remedy);
  const auto now = nlohmann::ordered_json::parse(settings_);
  for (const auto& [key, value] : now.items()) {
    const auto found = before["settings"].find(key);
    if (found == before["settings"].end() || *found != value)
      throw config_error(output_.string() + " is complete under other settings: " + key + " was " +
                             (found == before["settings"].end() ? "not set" : found->dump()) + " and is " +
                             value.dump(),
                         "output", remedy);
  }
  return fs::exists(output_);
}

LODESTONE_INLINE result_log stage_files::open_log(std::string_view name) const { return {log_name(name), settings_}; }

LODESTONE_INLINE void stage_files::write_lines(const std::filesystem::path& file,
                                               const std::function<std::string()>& next) {
  atomic_file lines(file);
  for (std::string line = next(); !line.empty(); line = next()) {
    line += '\n';
    lines.write(std::string_view(line));
  }
  lines.commit();
}

LODESTONE_INLINE void stage_files::write_stage(std::string_view name, const result_log& log,
                                               std::span<const std::string> ids) const {
  std::size_t i = 0;
  write_lines(stage(name), [&]() -> std::string {
    while (i < ids.size() && !log.contains(ids[i])) ++i;
    return i < ids.size() ? log.read(ids[i++]) : std::string();
  });
}

LODESTONE_INLINE void stage_files::write_failed(std::span<const failed_item> failed) const {
  if (failed.empty()) {
    std::error_code ignored;
    std::filesystem::remove(stage("failed"), ignored);
    return;
  }
  std::size_t i = 0;
  write_lines(stage("failed"), [&]() -> std::string {
    if (i == failed.size()) return {};
    const failed_item& one = failed[i++];
    return detail::to_line({{"id", one.id}, {"error", one.error}});
  });
}

LODESTONE_INLINE void stage_files::finish(std::string_view json, std::span<const std::string_view> stages) const {
  auto content = nlohmann::ordered_json::parse(json);
  content["settings"] = nlohmann::ordered_json::parse(settings_);
  atomic_file file(summary());
  file.write(content.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  file.commit();
  for (const std::string_view name : stages) {
    std::error_code ignored;
    std::filesystem::remove(log_name(name).string() + ".partial", ignored);
  }
}

}  // namespace lodestone::synthesis
