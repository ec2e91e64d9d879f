// Filters and tests of jinja_interpreter.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/jinja_operations.ipp>

namespace lodestone::jinja::detail {

// --- Filters

LODESTONE_INLINE std::int64_t interpreter::length(const value& what) {
  switch (what.type()) {
    case kind::undefined: return 0;
    case kind::string: return static_cast<std::int64_t>(characters(what.string().bytes()).size()) - 1;
    case kind::list:
    case kind::tuple: return static_cast<std::int64_t>(what.items().size());
    case kind::dict: return static_cast<std::int64_t>(what.entries().entries.size());
    default: throw evaluation_error(std::string(to_string(what.type())) + " has no length");
  }
}

/// item.a.0.b, as the parameter `attribute` of filters writes it.
LODESTONE_INLINE value interpreter::attribute_of_path(const value& object, const value& path, const value* otherwise) {
  const auto or_otherwise = [&](const value& found) {
    return found.is(kind::undefined) && otherwise != nullptr ? *otherwise : found;
  };
  if (path.is_integral()) return or_otherwise(item(object, path));
  value result = object;
  const std::string names = jinja::to_text(path).bytes();
  for (std::size_t at = 0; at <= names.size();) {
    const std::size_t dot = std::min(names.find('.', at), names.size());
    const std::string name = names.substr(at, dot - at);
    std::int64_t number = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
    const bool is_number = !name.empty() && parsed.ec == std::errc() && parsed.ptr == name.data() + name.size();
    result = or_otherwise(item(result, is_number ? value(number) : value(name)));
    at = dot + 1;
  }
  return result;
}

/// The test that arguments from `first` on name; without one, truth.
LODESTONE_INLINE bool interpreter::select(const value& one, const arguments& given, std::size_t first) {
  charge(1);
  if (given.places.size() <= first) return one.truth();
  arguments rest;
  rest.places.assign(given.places.begin() + static_cast<std::ptrdiff_t>(first) + 1, given.places.end());
  rest.names = given.names;
  return test(jinja::to_text(given.places[first]).bytes(), one, rest);
}

LODESTONE_INLINE value interpreter::mapped(const value& input, const arguments& given) {
  std::vector<value> result;
  if (given.places.empty()) {
    const bound named(given, "map", {"attribute", "default"});
    if (named[0] == nullptr) throw evaluation_error("map needs a filter or attribute=");
    for (const value& one : iterate(input)) result.push_back(attribute_of_path(one, *named[0], named[1]));
  } else {
    const std::string name = jinja::to_text(given.places[0]).bytes();
    arguments rest;
    rest.places.assign(given.places.begin() + 1, given.places.end());
    rest.names = given.names;
    for (const value& one : iterate(input)) result.push_back(filter(name, one, rest));
  }
  return value::list(std::move(result), kind::lazy);
}

/// A key to sort by; strings without regard to case unless asked.
[[nodiscard]] inline value sort_key(value what, bool is_case_sensitive) {
  if (is_case_sensitive || !what.is(kind::string)) return what;
  return value(lower(what.string().bytes()));
}

LODESTONE_INLINE value interpreter::sorted(const value& input, const bound& given) {
  std::vector<std::pair<value, value>> keyed;
  for (value& one : iterate(input)) {
    std::vector<value> keys;
    if (given[2] != nullptr && !given[2]->is(kind::none)) {
      const std::string names = jinja::to_text(*given[2]).bytes();
      for (std::size_t at = 0; at <= names.size();) {
        const std::size_t comma = std::min(names.find(',', at), names.size());
        keys.push_back(sort_key(attribute_of_path(one, value(names.substr(at, comma - at))), given.truth(1, false)));
        at = comma + 1;
      }
    } else {
      keys.push_back(sort_key(one, given.truth(1, false)));
    }
    keyed.emplace_back(value::list(std::move(keys)), std::move(one));
  }
  const bool is_reversed = given.truth(0, false);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return is_reversed ? order(a.first, b.first) > 0 : order(a.first, b.first) < 0;
  });
  std::vector<value> result;
  result.reserve(keyed.size());
  for (auto& [key, one] : keyed) result.push_back(std::move(one));
  return value::list(std::move(result));
}

LODESTONE_INLINE value interpreter::extreme(const value& input, const bound& given, bool is_greatest) {
  value best;
  value best_key;
  bool is_first = true;
  for (const value& one : iterate(input)) {
    const value plain = given[1] != nullptr && !given[1]->is(kind::none) ? attribute_of_path(one, *given[1]) : one;
    const value key = sort_key(plain, given.truth(0, false));
    if (!is_first && (is_greatest ? order(key, best_key) <= 0 : order(key, best_key) >= 0)) continue;
    best = one;
    best_key = key;
    is_first = false;
  }
  return is_first ? value::undefined("the extreme of nothing") : best;
}

LODESTONE_INLINE value interpreter::filter(const std::string& name, const value& input, const arguments& given) {
  charge(1);
  const auto string = [&] { return jinja::to_text(input); };
  const auto lazy = [](std::vector<value> items) { return value::list(std::move(items), kind::lazy); };
  const auto is_given = [](const value* what) { return what != nullptr && !what->is(kind::none); };
  const auto needs_string = [&](const value* what) -> text { return what != nullptr ? jinja::to_text(*what) : text(); };
  if (name == "default" || name == "d") {
    const bound all(given, name, {"default_value", "boolean"});
    const bool is_replaced = input.is(kind::undefined) || (all.truth(1, false) && !input.truth());
    if (!is_replaced) return input;
    return all[0] != nullptr ? *all[0] : value("");
  }
  if (name == "trim") {
    const bound all(given, name, {"chars"});
    if (is_given(all[0]) && !all[0]->is(kind::string)) throw evaluation_error("trim needs a string");
    return written(stripped(string(), all[0], true, true));
  }
  if (name == "length" || name == "count") return length(input);
  if (name == "upper") return written(string().transformed([](std::string_view part) { return upper(part); }));
  if (name == "lower") return written(string().transformed([](std::string_view part) { return lower(part); }));
  if (name == "capitalize") return written(string().made(capitalized(string().bytes())));
  if (name == "title") return written(string().made(titled(string().bytes())));
  if (name == "string") return written(string());
  if (name == "safe") return input.is(kind::string) ? input : written(string());
  if (name == "e" || name == "escape" || name == "forceescape")
    return written(string().transformed([](std::string_view part) { return escaped(part); }));
  if (name == "tojson") {
    charge(input.size().weight);
    return written(json_of(input, bound(given, name, {"ensure_ascii", "indent", "separators", "sort_keys"})));
  }
  if (name == "join") {
    const bound all(given, name, {"d", "attribute"});
    const text between = needs_string(all[0]);
    text result;
    bool is_first = true;
    for (const value& one : iterate(input)) {
      charge_bytes(between.size());
      if (!is_first) result.append(between);
      is_first = false;
      const text part = jinja::to_text(is_given(all[1]) ? attribute_of_path(one, *all[1]) : one);
      charge_bytes(part.size());
      result.append(part);
    }
    return written(std::move(result));
  }
  if (name == "replace") {
    const bound all(given, name, {"old", "new", "count"});
    if (all[0] == nullptr || all[1] == nullptr) throw evaluation_error("replace needs what and by what");
    const text whole = string();
    const text old = jinja::to_text(*all[0]);
    const text by = jinja::to_text(*all[1]);
    charge_bytes(whole.size());
    const std::size_t most = old.size() == 0 ? whole.size() + 1 : whole.size() / old.size();
    if (by.size() > old.size()) charge(static_cast<std::int64_t>(most) * static_cast<std::int64_t>(by.size() / 8 + 1));
    return written(replaced(whole, old, by, all.integer(2, -1)));
  }
  if (name == "first") {
    if (input.is(kind::string)) {
      const std::vector<std::size_t> places = characters(input.string().bytes());
      return places.size() > 1 ? value(input.string().part(0, places[1])) : value::undefined("the first of nothing");
    }
    const std::vector<value> items = iterate(input);
    return items.empty() ? value::undefined("the first of nothing") : items.front();
  }
  if (name == "last") {
    if (input.is(kind::lazy)) throw evaluation_error("an iterator has no last item");
    const std::vector<value> items = iterate(input);
    return items.empty() ? value::undefined("the last of nothing") : items.back();
  }
  if (name == "list") return value::list(iterate(input));
  if (name == "reverse") {
    std::vector<value> items = iterate(input);
    std::reverse(items.begin(), items.end());
    if (!input.is(kind::string)) return lazy(std::move(items));
    text result;
    for (const value& one : items) result.append(one.string());
    return written(std::move(result));
  }
  if (name == "items") {
    std::vector<value> items;
    if (input.is(kind::undefined)) return lazy({});
    if (!input.is(kind::dict))
      throw evaluation_error("items needs a dict, got " + std::string(to_string(input.type())));
    charge(static_cast<std::int64_t>(input.entries().entries.size()));
    for (const auto& [key, one] : input.entries().entries) items.push_back(value::list({key, one}, kind::tuple));
    return lazy(std::move(items));
  }
  if (name == "dictsort") {
    const bound all(given, name, {"case_sensitive", "by", "reverse"});
    if (!input.is(kind::dict))
      throw evaluation_error("dictsort needs a dict, got " + std::string(to_string(input.type())));
    const std::string by = all[1] != nullptr ? jinja::to_text(*all[1]).bytes() : "key";
    if (by != "key" && by != "value") throw evaluation_error("dictsort sorts by key or by value");
    charge(static_cast<std::int64_t>(input.entries().entries.size()));
    std::vector<value> items;
    for (const auto& [key, one] : input.entries().entries) items.push_back(value::list({key, one}, kind::tuple));
    const std::size_t at = by == "key" ? 0 : 1;
    const bool is_exact = all.truth(0, false);
    const bool is_reversed = all.truth(2, false);
    std::stable_sort(items.begin(), items.end(), [&](const value& a, const value& b) {
      const int sign = order(sort_key(a.items()[at], is_exact), sort_key(b.items()[at], is_exact));
      return is_reversed ? sign > 0 : sign < 0;
    });
    return value::list(std::move(items));
  }
  if (name == "map") return mapped(input, given);
  if (name == "select" || name == "reject") {
    std::vector<value> items;
    for (value& one : iterate(input))
      if (select(one, given, 0) == (name == "select")) items.push_back(std::move(one));
    return lazy(std::move(items));
  }
  if (name == "selectattr" || name == "rejectattr") {
    if (given.places.empty()) throw evaluation_error(name + " needs an attribute");
    std::vector<value> items;
    for (value& one : iterate(input))
      if (select(attribute_of_path(one, given.places[0]), given, 1) == (name == "selectattr"))
        items.push_back(std::move(one));
    return lazy(std::move(items));
  }
  if (name == "sort") return sorted(input, bound(given, name, {"reverse", "case_sensitive", "attribute"}));
  if (name == "min" || name == "max")
    return extreme(input, bound(given, name, {"case_sensitive", "attribute"}), name == "max");
  if (name == "unique") {
    const bound all(given, name, {"case_sensitive", "attribute"});
    std::vector<value> items;
    std::vector<value> keys;
    for (value& one : iterate(input)) {
      const value plain = is_given(all[1]) ? attribute_of_path(one, *all[1]) : one;
      const value key = sort_key(plain, all.truth(0, false));
      if (std::any_of(keys.begin(), keys.end(), [&](const value& known) { return is_equal(known, key); })) continue;
      keys.push_back(key);
      items.push_back(std::move(one));
    }
    return lazy(std::move(items));
  }
  if (name == "sum") {
    const bound all(given, name, {"attribute", "start"});
    value total = all[1] != nullptr ? *all[1] : value(std::int64_t{0});
    for (const value& one : iterate(input))
      total = arithmetic("+", total, is_given(all[0]) ? attribute_of_path(one, *all[0]) : one);
    return total;
  }
  if (name == "batch") {
    const bound all(given, name, {"linecount", "fill_with"});
    const std::int64_t count = all.integer(0, 0);
    if (count < 1 || count > 1'000'000) throw evaluation_error("batch needs a number of at least 1");
    std::vector<value> batches;
    std::vector<value> one;
    for (value& item : iterate(input)) {
      if (static_cast<std::int64_t>(one.size()) == count) batches.push_back(value::list(std::exchange(one, {})));
      one.push_back(std::move(item));
    }
    if (!one.empty()) {
      if (is_given(all[1])) charge(count);
      while (is_given(all[1]) && static_cast<std::int64_t>(one.size()) < count) one.push_back(*all[1]);
      batches.push_back(value::list(std::move(one)));
    }
    return lazy(std::move(batches));
  }
  if (name == "int") {
    const bound all(given, name, {"default", "base"});
    if (input.is(kind::undefined)) fail_undefined(input);
    return parsed_integer(input, all[0] != nullptr ? *all[0] : value(std::int64_t{0}), all.integer(1, 10));
  }
  if (name == "float") {
    const bound all(given, name, {"default"});
    if (input.is(kind::undefined)) fail_undefined(input);
    return parsed_real(input, all[0] != nullptr ? *all[0] : value(0.0));
  }
  if (name == "abs") {
    if (!input.is_number()) throw evaluation_error("abs needs a number, got " + std::string(to_string(input.type())));
    if (input.is(kind::real)) return std::abs(input.real());
    return input.integer() < 0 ? arithmetic("-", value(std::int64_t{0}), input) : value(input.integer());
  }
  if (name == "round") {
    const bound all(given, name, {"precision", "method"});
    return rounded(input, all.integer(0, 0), all[1] != nullptr ? jinja::to_text(*all[1]).bytes() : "common");
  }
  if (name == "indent") {
    const bound all(given, name, {"width", "first", "blank"});
    std::string by(4, ' ');
    if (is_given(all[0]) && all[0]->is(kind::string)) {
      by = all[0]->string().bytes();
    } else if (is_given(all[0])) {
      const std::int64_t width = std::max<std::int64_t>(0, all.integer(0, 4));
      charge(width);
      by.assign(static_cast<std::size_t>(width), ' ');
    }
    const text whole = string();
    const auto lines = 2 + std::count_if(whole.bytes().begin(), whole.bytes().end(), [](char c) {
                         return (c >= 10 && c <= 30) || static_cast<unsigned char>(c) > 127;
                       });
    charge(static_cast<std::int64_t>(by.size() / 8 + 1) * lines);
    return written(indented(whole, by, all.truth(1, false), all.truth(2, false)));
  }
  if (name == "center") {
    const bound all(given, name, {"width"});
    return method(value(string()), "center", {{value(all.integer(0, 80))}, {}});
  }
  if (name == "wordcount") {
    std::int64_t words = 0;
    bool is_inside = false;
    for (const char32_t c : [&] {
           std::vector<char32_t> all;
           (void)each_character(string().bytes(), [&](char32_t one) {
             all.push_back(one);
             return one;
           });
           return all;
         }()) {
      const bool is_word = (lodestone::text::character::table::get()[c] & lodestone::text::character::word) != 0;
      if (is_word && !is_inside) ++words;
      is_inside = is_word;
    }
    return words;
  }
  if (name == "format") {
    if (!given.names.empty()) throw evaluation_error("format with names is not supported");
    return written(format_percent(string(), value::list(given.places, kind::tuple)));
  }
  throw evaluation_error("the filter '" + name + "' is not supported in chat templates", {},
                         "name a built-in template instead");
}

// --- Tests

LODESTONE_INLINE bool interpreter::test(const std::string& name, const value& input, const arguments& given) {
  charge(1);
  const auto other = [&]() -> const value& {
    if (given.places.size() != 1) throw evaluation_error("the test '" + name + "' needs a value to compare with");
    return given.places[0];
  };
  const auto integer = [&](const value& what) {
    if (!what.is_integral()) throw evaluation_error("the test '" + name + "' needs an integer");
    return what.integer();
  };
  if (name == "defined") return !input.is(kind::undefined);
  if (name == "undefined") return input.is(kind::undefined);
  if (name == "none") return input.is(kind::none);
  if (name == "string") return input.is(kind::string);
  if (name == "mapping") return input.is(kind::dict);
  if (name == "iterable")
    return input.is_sequence() || input.is(kind::string) || input.is(kind::dict) || input.is(kind::undefined);
  if (name == "sequence")
    return input.is(kind::list) || input.is(kind::tuple) || input.is(kind::string) || input.is(kind::dict) ||
           input.is(kind::undefined);
  if (name == "number") return input.is_number();
  if (name == "integer") return input.is(kind::integer);
  if (name == "float") return input.is(kind::real);
  if (name == "boolean") return input.is(kind::boolean);
  if (name == "true") return input.is(kind::boolean) && input.truth();
  if (name == "false") return input.is(kind::boolean) && !input.truth();
  if (name == "callable") return input.is(kind::callable) || input.is(kind::undefined);
  if (name == "odd") return integer(input) % 2 != 0;
  if (name == "even") return integer(input) % 2 == 0;
  if (name == "divisibleby") {
    const std::int64_t by = integer(other());
    if (by == 0) throw evaluation_error("division by zero");
    return by == -1 || integer(input) % by == 0;
  }
  if (name == "eq" || name == "==" || name == "equalto") return is_equal(input, other());
  if (name == "ne" || name == "!=") return !is_equal(input, other());
  if (name == "lt" || name == "<" || name == "lessthan") return order(input, other()) < 0;
  if (name == "le" || name == "<=") return order(input, other()) <= 0;
  if (name == "gt" || name == ">" || name == "greaterthan") return order(input, other()) > 0;
  if (name == "ge" || name == ">=") return order(input, other()) >= 0;
  if (name == "in") return contains(other(), input);
  if (name == "sameas") return input.same_object(other());
  if (name == "lower") return method(value(jinja::to_text(input)), "islower", {}).truth();
  if (name == "upper") return method(value(jinja::to_text(input)), "isupper", {}).truth();
  throw evaluation_error("the test '" + name + "' is not supported in chat templates", {},
                         "name a built-in template instead");
}

}  // namespace lodestone::jinja::detail
