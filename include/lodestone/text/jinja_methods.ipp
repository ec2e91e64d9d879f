// Methods and functions of jinja_interpreter.hpp: included by it, or compiled once into lodestone::compiled. A
// little more than 400 lines: one entry for each method.
#pragma once

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/jinja_filters.ipp>
#include <lodestone/text/jinja_interpreter.hpp>

namespace lodestone::jinja::detail {

inline constexpr std::array<std::string_view, 37> string_methods{
    "strip",   "lstrip",    "rstrip",     "split",        "rsplit",      "splitlines", "startswith", "endswith",
    "replace", "upper",     "lower",      "title",        "capitalize",  "casefold",   "swapcase",   "join",
    "find",    "rfind",     "index",      "rindex",       "count",       "format",     "isdigit",    "isdecimal",
    "isalpha", "isalnum",   "isspace",    "islower",      "isupper",     "center",     "ljust",      "rjust",
    "zfill",   "partition", "rpartition", "removeprefix", "removesuffix"};
inline constexpr std::array<std::string_view, 6> more_string_methods{"isnumeric",  "istitle", "isidentifier",
                                                                     "expandtabs", "encode",  "translate"};
inline constexpr std::array<std::string_view, 5> dict_methods{"get", "items", "keys", "values", "copy"};
inline constexpr std::array<std::string_view, 3> list_methods{"index", "count", "copy"};
// What the sandbox that chat templates are written for refuses.
inline constexpr std::array<std::string_view, 5> dict_changes{"pop", "popitem", "update", "setdefault", "clear"};
inline constexpr std::array<std::string_view, 8> list_changes{"append", "extend", "insert", "pop",
                                                              "remove", "clear",  "sort",   "reverse"};

template <std::size_t N>
[[nodiscard]] bool is_among(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

LODESTONE_INLINE bool interpreter::has_method(const value& object, std::string_view name) {
  switch (object.type()) {
    case kind::string: return is_among(string_methods, name) || is_among(more_string_methods, name);
    case kind::dict: return is_among(dict_methods, name) || is_among(dict_changes, name);
    case kind::list: return is_among(list_methods, name) || is_among(list_changes, name);
    case kind::tuple: return name == "index" || name == "count";
    case kind::loop: return name == "cycle" || name == "changed";
    default: return false;
  }
}

LODESTONE_INLINE value interpreter::method(const value& object, const std::string& name, const arguments& given) {
  charge(1);
  if (object.is(kind::string)) return string_method(object.string(), name, given);
  if (object.is(kind::loop)) {
    if (name != "cycle" || given.places.empty()) throw evaluation_error("loop." + name + " is not supported");
    return given.places[object.loop().index % given.places.size()];
  }
  if ((object.is(kind::dict) && is_among(dict_changes, name)) ||
      (object.is(kind::list) && is_among(list_changes, name)))
    throw evaluation_error(std::string(to_string(object.type())) + " cannot be changed by '" + name + "'", {},
                           "in chat templates only a namespace changes");
  if (object.is(kind::dict)) {
    const mapping& all = object.entries();
    charge(static_cast<std::int64_t>(all.entries.size()));
    if (name == "get") {
      const bound named(given, name, {"key", "default"});
      if (named[0] == nullptr) throw evaluation_error("get needs a key");
      if (const value* found = all.find(*named[0])) return *found;
      return named[1] != nullptr ? *named[1] : value::none();
    }
    (void)bound(given, name, {});
    if (name == "copy") return object;
    std::vector<value> result;
    for (const auto& [key, what] : all.entries) {
      if (name == "keys") result.push_back(key);
      if (name == "values") result.push_back(what);
      if (name == "items") result.push_back(value::list({key, what}, kind::tuple));
    }
    return value::list(std::move(result));
  }
  if (name == "copy") return object;
  const bound all(given, name, {"value"});
  if (all[0] == nullptr) throw evaluation_error(name + " needs a value");
  std::int64_t count = 0;
  for (std::size_t i = 0; i < object.items().size(); ++i) {
    if (!is_equal(object.items()[i], *all[0])) continue;
    if (name == "index") return static_cast<std::int64_t>(i);
    ++count;
  }
  if (name == "index") throw evaluation_error("the list does not hold what index looks for");
  return count;
}

// --- Strings

/// The pieces of a text between separators, at most `most` cuts (negative: all); from the right if asked.
[[nodiscard]] inline std::vector<value> split_at(const text& self, std::string_view separator, std::int64_t most,
                                                 bool from_right) {
  std::vector<value> result;
  const std::string& bytes = self.bytes();
  if (from_right) {
    std::size_t end = bytes.size();
    while (most-- != 0) {
      const std::size_t found =
          end < separator.size() ? std::string::npos : bytes.rfind(separator, end - separator.size());
      if (found == std::string::npos) break;
      result.emplace_back(self.part(found + separator.size(), end));
      end = found;
    }
    result.emplace_back(self.part(0, end));
    std::reverse(result.begin(), result.end());
    return result;
  }
  std::size_t begin = 0;
  while (most-- != 0) {
    const std::size_t found = bytes.find(separator, begin);
    if (found == std::string::npos) break;
    result.emplace_back(self.part(begin, found));
    begin = found + separator.size();
  }
  result.emplace_back(self.part(begin, bytes.size()));
  return result;
}

/// The words of a text between white space.
[[nodiscard]] inline std::vector<value> words_of(const text& self, std::int64_t most, bool from_right) {
  std::vector<value> result;
  const std::string_view bytes = self.bytes();
  if (from_right) {
    std::size_t end = bytes.size();
    for (;;) {
      while (const std::size_t length = space_before(bytes, end)) end -= length;
      if (end == 0) break;
      std::size_t begin = end;
      while (begin > 0 && (most == 0 || space_before(bytes, begin) == 0)) --begin;
      result.emplace_back(self.part(begin, end));
      end = begin;
      --most;
    }
    std::reverse(result.begin(), result.end());
    return result;
  }
  for (std::size_t at = 0;;) {
    while (const std::size_t length = space_at(bytes, at)) at += length;
    if (at >= bytes.size()) return result;
    std::size_t end = at;
    if (most == 0) {
      end = bytes.size();
      while (const std::size_t length = space_before(bytes, end)) end -= length;
    } else {
      while (end < bytes.size() && space_at(bytes, end) == 0) ++end;
    }
    result.emplace_back(self.part(at, end));
    at = end;
    --most;
  }
}

/// Whether every character is of a kind, and there is one.
template <class Test>
[[nodiscard]] bool all_characters(std::string_view bytes, const Test& test) {
  bool holds = !bytes.empty();
  (void)each_character(bytes, [&](char32_t c) {
    holds = holds && test(c);
    return c;
  });
  return holds;
}

[[nodiscard]] inline bool has_class(char32_t c, unsigned bits) {
  return (lodestone::text::character::table::get()[c] & bits) != 0;
}

LODESTONE_INLINE value interpreter::string_method(const text& self, const std::string& name, const arguments& given) {
  charge_bytes(self.size());
  const std::string& bytes = self.bytes();
  const auto string = [&](const value* what) -> const text& {
    if (what == nullptr) throw evaluation_error(name + " needs a string");
    if (what->is(kind::undefined)) fail_undefined(*what);
    if (!what->is(kind::string))
      throw evaluation_error(name + " needs a string, got " + std::string(to_string(what->type())));
    return what->string();
  };
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    const bound all(given, name, {"chars"});
    if (all[0] != nullptr && !all[0]->is(kind::none)) (void)string(all[0]);
    return stripped(self, all[0], name != "rstrip", name != "lstrip");
  }
  if (name == "split" || name == "rsplit") {
    const bound all(given, name, {"sep", "maxsplit"});
    const std::int64_t most = all.integer(1, -1);
    if (all[0] == nullptr || all[0]->is(kind::none)) return value::list(words_of(self, most, name == "rsplit"));
    if (string(all[0]).size() == 0) throw evaluation_error("the separator is empty");
    return value::list(split_at(self, string(all[0]).bytes(), most, name == "rsplit"));
  }
  if (name == "splitlines") {
    std::vector<value> lines;
    for (text& line : lines_of(self, bound(given, name, {"keepends"}).truth(0, false)))
      lines.emplace_back(std::move(line));
    return value::list(std::move(lines));
  }
  if (name == "startswith" || name == "endswith") {
    const bound all(given, name, {"prefix"});
    const auto fits = [&](const value& part) {
      return name == "startswith" ? bytes.starts_with(string(&part).bytes()) : bytes.ends_with(string(&part).bytes());
    };
    if (all[0] != nullptr && all[0]->is(kind::tuple)) {
      charge(all[0]->size().weight);
      return std::any_of(all[0]->items().begin(), all[0]->items().end(), fits);
    }
    return fits(all[0] != nullptr ? *all[0] : value());
  }
  if (name == "replace") {
    const bound all(given, name, {"old", "new", "count"});
    (void)string(all[0]);
    (void)string(all[1]);
    return filter("replace", value(self), given);
  }
  if (name == "upper" || name == "lower") return filter(name, value(self), given);
  if (name == "casefold") return filter("lower", value(self), given);
  if (name == "capitalize") return self.made(capitalized(bytes));
  if (name == "title" || name == "swapcase") {
    bool is_first = true;
    return self.made(each_character(bytes, [&](char32_t c) {
      if (name == "swapcase") return upper(c) == c ? lower(c) : upper(c);
      const bool starts = is_first;
      is_first = !has_class(c, lodestone::text::character::letter);
      return starts ? upper(c) : lower(c);
    }));
  }
  if (name == "join") {
    const bound all(given, name, {"iterable"});
    if (all[0] == nullptr) throw evaluation_error("join needs a list");
    text result;
    bool is_first = true;
    for (const value& one : iterate(*all[0])) {
      charge_bytes(bytes.size() + string(&one).size());
      if (!is_first) result.append(self);
      is_first = false;
      result.append(string(&one));
    }
    return value(std::move(result));
  }
  if (name == "find" || name == "rfind" || name == "index" || name == "rindex") {
    const std::string& part = string(bound(given, name, {"sub"})[0]).bytes();
    const std::size_t found = name[0] == 'r' ? bytes.rfind(part) : bytes.find(part);
    if (found == std::string::npos) {
      if (name.ends_with("index")) throw evaluation_error("the string does not hold what index looks for");
      return std::int64_t{-1};
    }
    return static_cast<std::int64_t>(characters(std::string_view(bytes).substr(0, found)).size()) - 1;
  }
  if (name == "count") {
    const std::string& part = string(bound(given, name, {"sub"})[0]).bytes();
    if (part.empty()) return static_cast<std::int64_t>(characters(bytes).size());
    std::int64_t count = 0;
    for (std::size_t at = bytes.find(part); at != std::string::npos; at = bytes.find(part, at + part.size())) ++count;
    return count;
  }
  if (name == "format") return written(format_braces(self, given));
  if (name == "removeprefix" || name == "removesuffix") {
    const std::string& part = string(bound(given, name, {"prefix"})[0]).bytes();
    if (name == "removeprefix" && bytes.starts_with(part)) return self.part(part.size(), bytes.size());
    if (name == "removesuffix" && bytes.ends_with(part)) return self.part(0, bytes.size() - part.size());
    return self;
  }
  if (name == "partition" || name == "rpartition") {
    const text& part = string(bound(given, name, {"sep"})[0]);
    if (part.size() == 0) throw evaluation_error("the separator is empty");
    const bool is_right = name == "rpartition";
    const std::size_t found = is_right ? bytes.rfind(part.bytes()) : bytes.find(part.bytes());
    if (found == std::string::npos)
      return is_right ? value::list({"", "", self}, kind::tuple) : value::list({self, "", ""}, kind::tuple);
    return value::list(
        {self.part(0, found), self.part(found, found + part.size()), self.part(found + part.size(), bytes.size())},
        kind::tuple);
  }
  if (name == "center" || name == "ljust" || name == "rjust" || name == "zfill") {
    const bound all(given, name, {"width", "fillchar"});
    const std::int64_t width = all.integer(0, 0);
    const auto count = static_cast<std::int64_t>(characters(bytes).size()) - 1;
    const std::int64_t missing = std::max<std::int64_t>(0, width - count);
    charge(missing);
    const std::string fill = name == "zfill" ? "0" : all[1] != nullptr ? string(all[1]).bytes() : " ";
    if (characters(fill).size() != 2) throw evaluation_error("the character to fill with is not one character");
    const std::int64_t left = name == "center" ? missing / 2 + (missing & width & 1) : name == "ljust" ? 0 : missing;
    const std::size_t sign = name == "zfill" && (bytes.starts_with('-') || bytes.starts_with('+')) ? 1 : 0;
    text result = self.part(0, sign);
    for (std::int64_t i = 0; i < left; ++i) result.append(fill);
    result.append(self, sign, self.size());
    for (std::int64_t i = left; i < missing; ++i) result.append(fill);
    return value(std::move(result));
  }
  using namespace lodestone::text::character;
  if (name == "isdigit" || name == "isdecimal" || name == "isnumeric")
    return all_characters(bytes, [](char32_t c) { return has_class(c, number); });
  if (name == "isalpha") return all_characters(bytes, [](char32_t c) { return has_class(c, letter); });
  if (name == "isalnum") return all_characters(bytes, [](char32_t c) { return has_class(c, letter | number); });
  if (name == "isspace") return !bytes.empty() && stripped(self, nullptr, true, false).size() == 0;
  if (name == "islower" || name == "isupper") {
    const std::string wanted = name == "islower" ? lower(bytes) : upper(bytes);
    return wanted == bytes && lower(bytes) != upper(bytes);
  }
  throw evaluation_error("the string method '" + name + "' is not supported in chat templates", {},
                         "name a built-in template instead");
}

/// "a {} b {1} {name}".format(...): without conversions and format specifications.
LODESTONE_INLINE text interpreter::format_braces(const text& form, const arguments& given) {
  text result;
  const std::string& bytes = form.bytes();
  std::size_t next = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    const char c = bytes[at];
    if ((c == '{' || c == '}') && at + 1 < bytes.size() && bytes[at + 1] == c) {
      result.append(form, at, at + 1);
      ++at;
    } else if (c == '{') {
      const std::size_t end = bytes.find('}', at);
      if (end == std::string::npos) throw evaluation_error("a brace of format has no end");
      const std::string name = bytes.substr(at + 1, end - at - 1);
      if (name.find_first_of("!:.[{") != std::string::npos)
        throw evaluation_error("format with '" + name + "' is not supported in chat templates");
      const value* found = nullptr;
      if (name.empty() || is_digit(name[0])) {
        std::size_t index = next++;
        if (!name.empty()) std::from_chars(name.data(), name.data() + name.size(), index);
        if (index < given.places.size()) found = &given.places[index];
      }
      for (const auto& [known, what] : given.names)
        if (known == name) found = &what;
      if (found == nullptr) throw evaluation_error("format has no value for {" + name + "}");
      const text part = jinja::to_text(*found);
      charge_bytes(part.size());
      result.append(part);
      at = end;
    } else if (c == '}') {
      throw evaluation_error("a brace of format has no beginning");
    } else {
      result.append(form, at, at + 1);
    }
  }
  return result;
}

/// "%s and %d" % values.
LODESTONE_INLINE text interpreter::format_percent(const text& form, const value& given) {
  text result;
  const std::string& bytes = form.bytes();
  std::size_t next = 0;
  const auto take = [&]() -> value {
    if (!given.is(kind::tuple)) {
      if (next++ > 0) throw evaluation_error("there are more % places than values");
      return given;
    }
    if (next >= given.items().size()) throw evaluation_error("there are more % places than values");
    return given.items()[next++];
  };
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    if (bytes[at] != '%') {
      const std::size_t end = std::min(bytes.find('%', at), bytes.size());
      result.append(form, at, end);
      at = end - 1;
      continue;
    }
    std::string rule = "%";
    for (++at; at < bytes.size() && std::string_view("-+ 0#.123456789").find(bytes[at]) != std::string_view::npos; ++at)
      rule += bytes[at];
    if (rule.size() > 8) throw evaluation_error("a % place is too wide");
    const char what = at < bytes.size() ? bytes[at] : '\0';
    if (what == '%') {
      result.append("%");
      continue;
    }
    std::array<char, 2048> buffer{};
    int length = 0;
    if ((what == 's' || what == 'r') && rule == "%") {
      const value one = take();
      const text part = what == 's' ? jinja::to_text(one) : represent(one);
      charge_bytes(part.size());
      result.append(part);
      continue;
    }
    const std::size_t digits = std::min(rule.find_first_of("123456789"), rule.size());
    int width = 0;
    std::from_chars(rule.data() + digits, rule.data() + rule.size(), width);
    if (width > 500) throw evaluation_error("a % place is too wide");
    const value one = take();
    if ((what == 'd' || what == 'i' || what == 'x' || what == 'X' || what == 'o') && one.is_number()) {
      const long long number =
          one.is_integral() ? one.integer() : parsed_integer(one, value(std::int64_t{0}), 10).integer();
      length = std::snprintf(buffer.data(), buffer.size(), (rule + "ll" + what).c_str(), number);
    } else if (std::string_view("feEgG").find(what) != std::string_view::npos && what != '\0' && one.is_number()) {
      length = std::snprintf(buffer.data(), buffer.size(), (rule + what).c_str(), one.real());
    } else {
      throw evaluation_error("'" + rule + (what == '\0' ? "" : std::string(1, what)) + "' for " +
                             std::string(to_string(one.type())) + " is not supported");
    }
    result.append(
        std::string_view(buffer.data(), std::min(static_cast<std::size_t>(std::max(length, 0)), buffer.size() - 1)));
  }
  if (given.is(kind::tuple) ? next != given.items().size() : next == 0 && !given.is(kind::dict))
    throw evaluation_error("there are fewer % places than values");
  return result;
}

// --- Functions

LODESTONE_INLINE value interpreter::builtin(const std::string& name, const arguments& given) {
  charge(1);
  if (name == "raise_exception") {
    const bound all(given, name, {"message"});
    throw template_refusal(all[0] != nullptr ? jinja::to_text(*all[0]).bytes() : std::string("refused"));
  }
  if (name == "range") {
    const bound all(given, name, {"start", "stop", "step"});
    const bool has_start = all[1] != nullptr;
    const std::int64_t begin = has_start ? all.integer(0, 0) : 0;
    const std::int64_t end = has_start ? all.integer(1, 0) : all.integer(0, 0);
    const std::int64_t step = all.integer(2, 1);
    if (step == 0) throw evaluation_error("the step of a range is 0");
    std::vector<value> items;
    for (std::int64_t i = begin; step > 0 ? i < end : i > end;) {
      if (items.size() >= 100'000) throw evaluation_error("a range has more than 100000 numbers");
      charge(1);
      items.emplace_back(i);
      if (__builtin_add_overflow(i, step, &i)) break;
    }
    return value::list(std::move(items));
  }
  if (name == "dict" || name == "namespace") {
    mapping entries;
    if (given.places.size() > 1) throw evaluation_error(name + " takes one dict, and names");
    for (const value& one : given.places) {
      if (!one.is(kind::dict)) throw evaluation_error(name + " of " + std::string(to_string(one.type())));
      entries = one.entries();
    }
    for (const auto& [key, what] : given.names) {
      charge(static_cast<std::int64_t>(entries.entries.size()));
      entries.set(value(key), what);
    }
    if (name == "dict") return value::dict(std::move(entries));
    auto space = std::make_shared<name_space>();
    space->attributes = std::move(entries);
    spaces_.push_back(space);
    return value::of(std::move(space));
  }
  const bound all(given, name, {"format"});
  const std::string form = all[0] != nullptr ? jinja::to_text(*all[0]).bytes() : "";
  if (form.empty()) return "";
  std::tm now{};
  if (around_.now) {
    now = around_.now();
  } else {
    const std::time_t seconds = std::time(nullptr);
    (void)localtime_r(&seconds, &now);
  }
  std::array<char, 512> buffer{};
  const std::size_t length = std::strftime(buffer.data(), buffer.size(), form.c_str(), &now);
  if (length == 0) throw evaluation_error("strftime_now cannot write '" + form + "'");
  return std::string(buffer.data(), length);
}

}  // namespace lodestone::jinja::detail
