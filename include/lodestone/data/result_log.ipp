// Definitions of result_log.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include <lodestone/core/inline.hpp>
#include <lodestone/data/result_log.hpp>
#include <lodestone/text/jsonl.hpp>

namespace lodestone {

namespace detail {

/// The value of a line, or a null value where it is not JSON.
[[nodiscard]] LODESTONE_INLINE nlohmann::json parse_line(std::string_view line) {
  nlohmann::json value = nlohmann::json::parse(line, nullptr, false);
  return value.is_discarded() ? nlohmann::json() : value;
}

/// "temperature 0.7 (now 1)": the members in which two objects differ.
[[nodiscard]] LODESTONE_INLINE std::string differences(const nlohmann::json& then, const nlohmann::json& now) {
  std::string text;
  const auto shown = [](const nlohmann::json& object, const std::string& key) {
    return object.contains(key) ? object.at(key).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
                                : std::string("none");
  };
  nlohmann::json both = then;
  both.update(now);
  for (const auto& [key, value] : both.items())
    if (const std::string a = shown(then, key), b = shown(now, key); a != b)
      text += (text.empty() ? "" : ", ") + key + " " + a + " (now " + b + ")";
  return text;
}

}  // namespace detail

LODESTONE_INLINE result_log::result_log(std::filesystem::path final_name, std::string_view settings)
    : final_name_(std::move(final_name)), partial_name_(final_name_.string() + ".partial") {
  if (std::filesystem::exists(final_name_))
    throw config_error("is there already: that job is done", final_name_.string(),
                       "name another output, or remove the file");
  file_ = detail::descriptor(::open(partial_name_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!file_) detail::throw_errno("cannot open", partial_name_);
  if (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      throw config_error("another process is writing it", partial_name_.string(),
                         "wait for it, or name another output");
    detail::throw_errno("cannot lock", partial_name_);
  }
  resume(settings);
}

LODESTONE_INLINE void result_log::begin(std::string_view settings) {
  const nlohmann::json now = detail::parse_line(settings);
  if (!now.is_object()) throw config_error("settings of a job are not a JSON object", partial_name_.string());
  const std::string line = nlohmann::json{{"settings", now}}.dump() + "\n";
  if (::ftruncate(file_.get(), 0) != 0) detail::throw_errno("cannot write", partial_name_);
  detail::write_all(file_.get(), std::as_bytes(std::span(line.data(), line.size())), 0, partial_name_);
  end_ = static_cast<std::int64_t>(line.size());
}

LODESTONE_INLINE void result_log::resume(std::string_view settings) {
  std::int64_t length = 0;
  {
    const mapped_file content(partial_name_);
    const std::string_view text = content.text();
    std::int64_t number = 0;
    for (std::size_t at = 0; at < text.size(); ++number) {
      const std::size_t end = text.find('\n', at);
      if (end == std::string_view::npos) break;  // half a line of a writer that was killed
      const nlohmann::json value = detail::parse_line(text.substr(at, end - at));
      const std::string where = source_line(partial_name_.string(), number + 1);
      if (number == 0) {
        if (!value.is_object() || !value.contains("settings"))
          throw data_error("does not begin with the settings of a job", where,
                           "name another output, or remove the file");
        if (const std::string other = detail::differences(value.at("settings"), detail::parse_line(settings));
            !other.empty())
          throw config_error("was begun with other settings: " + other, partial_name_.string(),
                             "repeat them to go on, name another output, or remove the file to start again");
      } else {
        if (!value.is_object() || !value.contains("id") || !value.at("id").is_string())
          throw data_error("is not a result with an \"id\"", where, "remove the line, and its result is made again");
        const place here{static_cast<std::int64_t>(at), static_cast<std::int64_t>(end - at)};
        if (!places_.emplace(value.at("id").get<std::string>(), here).second)
          throw data_error("the id stands twice: " + value.at("id").dump(), where, "remove one of the lines");
      }
      at = end + 1;
      length = static_cast<std::int64_t>(at);
    }
  }
  if (length == 0) return begin(settings);
  if (::ftruncate(file_.get(), length) != 0) detail::throw_errno("cannot cut", partial_name_);
  end_ = length;
}

LODESTONE_INLINE std::string result_log::read(place where) const {
  std::string line(static_cast<std::size_t>(where.length), '\0');
  for (std::size_t done = 0; done < line.size();) {
    const auto got = ::pread(file_.get(), line.data() + done, line.size() - done,
                             static_cast<off_t>(where.offset + static_cast<std::int64_t>(done)));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) detail::throw_errno("cannot read", partial_name_);
    done += static_cast<std::size_t>(got);
  }
  return line;
}

LODESTONE_INLINE std::vector<std::string> result_log::ids(std::string_view prefix) const {
  std::vector<std::pair<std::int64_t, const std::string*>> found;
  for (auto at = places_.lower_bound(prefix);
       at != places_.end() && std::string_view(at->first).starts_with(prefix); ++at)
    found.emplace_back(at->second.offset, &at->first);
  std::sort(found.begin(), found.end());
  std::vector<std::string> all;
  all.reserve(found.size());
  for (const auto& [offset, id] : found) all.push_back(*id);
  return all;
}

LODESTONE_INLINE std::string result_log::read(std::string_view id) const {
  const auto found = places_.find(id);
  if (found == places_.end())
    throw data_error("there is no result of \"" + std::string(id) + "\"", partial_name_.string());
  return read(found->second);
}

LODESTONE_INLINE void result_log::append(std::string_view id, std::string_view line) {
  if (!file_) throw config_error("the log was committed", final_name_.string());
  const nlohmann::json value = detail::parse_line(line);
  if (line.find('\n') != std::string_view::npos || !value.is_object() || value.value("id", nlohmann::json()) != id)
    throw data_error("a result is not one line with an object whose \"id\" is \"" + std::string(id) + "\"",
                     partial_name_.string());
  if (contains(id)) throw data_error("\"" + std::string(id) + "\" has a result already", partial_name_.string());
  const std::string whole = std::string(line) + "\n";
  try {
    detail::write_all(file_.get(), std::as_bytes(std::span(whole.data(), whole.size())), end_, partial_name_);
  } catch (...) {
    [[maybe_unused]] const int cut = ::ftruncate(file_.get(), end_);  // opening it again would do the same
    throw;
  }
  places_.emplace(std::string(id), place{end_, static_cast<std::int64_t>(line.size())});
  end_ += static_cast<std::int64_t>(whole.size());
}

LODESTONE_INLINE void result_log::commit(std::span<const std::string> order) {
  if (!file_) throw config_error("the log was committed", final_name_.string());
  atomic_file result(final_name_);
  for (const std::string& id : order) {
    result.write(std::string_view(read(id)));
    result.write(std::string_view("\n"));
  }
  result.commit();
  std::filesystem::remove(partial_name_);
  file_ = {};
}

}  // namespace lodestone
