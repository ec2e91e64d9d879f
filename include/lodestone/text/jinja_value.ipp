// Definitions of jinja_value.hpp: included by it, or compiled once into lodestone::compiled.
// A little more than 400 lines: values, and how Python would print them.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/jinja_value.hpp>
#include <lodestone/text/unicode.hpp>

namespace lodestone::jinja {

LODESTONE_INLINE void extent::add(const extent& item) {
  constexpr std::int32_t deepest = 100;
  constexpr std::int64_t heaviest = 1 << 24;
  depth = std::max(depth, item.depth + 1);
  weight += item.weight;
  if (depth > deepest) throw evaluation_error("values nest deeper than " + std::to_string(deepest) + " lists or dicts");
  if (weight > heaviest) throw evaluation_error("a list or dict is too large");
}

LODESTONE_INLINE text::text(std::string bytes, std::int32_t source) : bytes_(std::move(bytes)) {
  if (!bytes_.empty()) marks_.push_back({0, bytes_.size(), source});
}

LODESTONE_INLINE void text::append(const text& other, std::size_t begin, std::size_t end) {
  const std::size_t shift = bytes_.size();
  bytes_.append(other.bytes_, begin, end - begin);
  for (const mark& one : other.marks_) {
    const std::size_t from = std::max(one.begin, begin);
    const std::size_t to = std::min(one.end, end);
    if (from >= to) continue;
    const mark moved{from - begin + shift, to - begin + shift, one.source};
    if (!marks_.empty() && marks_.back().end == moved.begin && marks_.back().source == moved.source)
      marks_.back().end = moved.end;
    else
      marks_.push_back(moved);
  }
}

LODESTONE_INLINE void text::append_data(std::string_view bytes, std::int32_t source) {
  append(text(std::string(bytes), source));
}

LODESTONE_INLINE text text::part(std::size_t begin, std::size_t end) const {
  text result;
  result.append(*this, begin, std::max(begin, end));
  return result;
}

LODESTONE_INLINE text text::made(std::string bytes) const {
  return marks_.empty() ? text(std::move(bytes)) : text(std::move(bytes), marks_.front().source);
}

LODESTONE_INLINE std::string_view to_string(kind which) {
  switch (which) {
    case kind::undefined: return "an undefined value";
    case kind::none: return "none";
    case kind::boolean: return "a boolean";
    case kind::integer: return "an integer";
    case kind::real: return "a float";
    case kind::string: return "a string";
    case kind::list: return "a list";
    case kind::tuple: return "a tuple";
    case kind::lazy: return "an iterator";
    case kind::dict: return "a dict";
    case kind::space: return "a namespace";
    case kind::loop: return "a loop";
    case kind::callable: return "a function";
  }
  return "?";
}

LODESTONE_INLINE const value* mapping::find(const value& key) const {
  for (const auto& [name, what] : entries)
    if (equal(name, key)) return &what;
  return nullptr;
}

LODESTONE_INLINE const value* mapping::find(std::string_view key) const {
  for (const auto& [name, what] : entries)
    if (name.is(kind::string) && name.string().bytes() == key) return &what;
  return nullptr;
}

LODESTONE_INLINE void mapping::set(const value& key, value what) {
  size.add(what.size());
  for (auto& [name, old] : entries) {
    if (!equal(name, key)) continue;
    old = std::move(what);
    return;
  }
  entries.emplace_back(key, std::move(what));
}

LODESTONE_INLINE value value::none() {
  value result;
  result.data_ = nothing{};
  return result;
}

LODESTONE_INLINE value value::undefined(std::string name) {
  value result;
  result.data_ = missing{std::make_shared<const std::string>(std::move(name))};
  return result;
}

LODESTONE_INLINE value value::list(std::vector<value> items, kind which) {
  auto shared = std::make_shared<sequence>();
  shared->items = std::move(items);
  for (const value& item : shared->items) shared->size.add(item.size());
  value result;
  result.data_ = ordered{std::move(shared), which};
  return result;
}

LODESTONE_INLINE value value::dict(mapping entries) {
  value result;
  result.data_ = std::make_shared<const mapping>(std::move(entries));
  return result;
}

LODESTONE_INLINE value value::dict(const std::vector<std::pair<std::string, value>>& entries) {
  mapping all;
  for (const auto& [name, what] : entries) all.set(value(name), what);
  return dict(std::move(all));
}

LODESTONE_INLINE value value::of(std::shared_ptr<name_space> space) {
  value result;
  result.data_ = std::move(space);
  return result;
}

LODESTONE_INLINE value value::of(std::shared_ptr<const function> callee) {
  value result;
  result.data_ = std::move(callee);
  return result;
}

LODESTONE_INLINE value value::of(std::shared_ptr<const loop_state> state) {
  value result;
  result.data_ = std::move(state);
  return result;
}

LODESTONE_INLINE kind value::type() const {
  switch (data_.index()) {
    case 0: return kind::undefined;
    case 1: return kind::none;
    case 2: return kind::boolean;
    case 3: return kind::integer;
    case 4: return kind::real;
    case 5: return kind::string;
    case 6: return std::get<ordered>(data_).which;
    case 7: return kind::dict;
    case 8: return kind::space;
    case 9: return kind::callable;
    default: return kind::loop;
  }
}

LODESTONE_INLINE bool value::is_sequence() const { return std::holds_alternative<ordered>(data_); }

LODESTONE_INLINE bool value::is_integral() const { return is(kind::boolean) || is(kind::integer); }

LODESTONE_INLINE bool value::is_number() const { return is_integral() || is(kind::real); }

LODESTONE_INLINE bool value::truth() const {
  switch (type()) {
    case kind::undefined:
    case kind::none: return false;
    case kind::boolean:
    case kind::integer: return integer() != 0;
    case kind::real: return real() != 0.0;
    case kind::string: return string().size() > 0;
    case kind::list:
    case kind::tuple: return !items().empty();
    case kind::dict: return !entries().entries.empty();
    default: return true;
  }
}

LODESTONE_INLINE std::int64_t value::integer() const {
  return is(kind::boolean) ? std::int64_t{std::get<bool>(data_)} : std::get<std::int64_t>(data_);
}

LODESTONE_INLINE double value::real() const {
  return is(kind::real) ? std::get<double>(data_) : static_cast<double>(integer());
}

LODESTONE_INLINE const text& value::string() const { return *std::get<std::shared_ptr<const text>>(data_); }

LODESTONE_INLINE const std::vector<value>& value::items() const { return std::get<ordered>(data_).items->items; }

LODESTONE_INLINE const mapping& value::entries() const { return *std::get<std::shared_ptr<const mapping>>(data_); }

LODESTONE_INLINE name_space& value::space() const { return *std::get<std::shared_ptr<name_space>>(data_); }

LODESTONE_INLINE const function& value::callee() const { return *std::get<std::shared_ptr<const function>>(data_); }

LODESTONE_INLINE const loop_state& value::loop() const { return *std::get<std::shared_ptr<const loop_state>>(data_); }

LODESTONE_INLINE const std::string& value::name() const {
  static const std::string unnamed = "value";
  const auto* known = std::get_if<missing>(&data_);
  return known != nullptr && known->name ? *known->name : unnamed;
}

LODESTONE_INLINE extent value::size() const {
  if (is_sequence()) return std::get<ordered>(data_).items->size;
  if (is(kind::dict)) return entries().size;
  return {0, is(kind::string) ? 1 + static_cast<std::int64_t>(string().size() / 8) : 1};
}

LODESTONE_INLINE bool value::same_object(const value& other) const {
  if (type() != other.type()) return false;
  if (is(kind::space)) return &space() == &other.space();
  if (is(kind::callable)) return &callee() == &other.callee();
  if (is(kind::loop)) return &loop() == &other.loop();
  if (is_sequence()) return &items() == &other.items();
  if (is(kind::dict)) return &entries() == &other.entries();
  return equal(*this, other);
}

LODESTONE_INLINE bool equal(const value& a, const value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.integer() == b.integer();
    return a.real() == b.real();
  }
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case kind::string: return a.string().bytes() == b.string().bytes();
    case kind::list:
    case kind::tuple: return std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(), equal);
    case kind::dict: {
      if (a.entries().entries.size() != b.entries().entries.size()) return false;
      for (const auto& [key, what] : a.entries().entries) {
        const value* other = b.entries().find(key);
        if (other == nullptr || !equal(what, *other)) return false;
      }
      return true;
    }
    case kind::undefined:
    case kind::none: return true;
    default: return a.same_object(b);
  }
}

LODESTONE_INLINE std::string represent(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  std::array<char, 40> buffer{};
  // Python writes an exponent below 1e-4 and from 1e16 on, and a point everywhere else.
  const double size = std::abs(number);
  const bool is_plain = size == 0.0 || (size >= 1e-4 && size < 1e16);
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number,
                                 is_plain ? std::chars_format::fixed : std::chars_format::scientific);
  std::string result(buffer.data(), end.ptr);
  if (is_plain && result.find('.') == std::string::npos) result += ".0";
  return result;
}

namespace detail {

/// A string as Python quotes it.
inline std::string quoted(std::string_view bytes, char quote) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string result;
  for (std::size_t at = 0; at < bytes.size();) {
    const lodestone::text::code_point point =
        lodestone::text::decode_utf8(bytes.data() + at, bytes.data() + bytes.size());
    const char first = bytes[at];
    const auto byte = static_cast<unsigned char>(first);
    if (first == quote || first == '\\')
      result.append({'\\', first});
    else if (first == '\n')
      result += "\\n";
    else if (first == '\r')
      result += "\\r";
    else if (first == '\t')
      result += "\\t";
    else if (byte < 0x20 || byte == 0x7F || point.value == lodestone::text::not_utf8)
      result.append({'\\', 'x', digits[byte >> 4], digits[byte & 0xFU]});
    else
      result += bytes.substr(at, point.length);
    at += point.length;
  }
  return result;
}

inline void represent(const value& what, text& out) {
  const auto write_items = [&](const std::vector<value>& items) {
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out.append(", ");
      represent(items[i], out);
    }
  };
  switch (what.type()) {
    case kind::string: {
      const std::string& bytes = what.string().bytes();
      const bool is_double = bytes.find('\'') != std::string::npos && bytes.find('"') == std::string::npos;
      const char quote = is_double ? '"' : '\'';
      out.append(std::string_view(&quote, 1));
      out.append(what.string().transformed([quote](std::string_view part) { return quoted(part, quote); }));
      out.append(std::string_view(&quote, 1));
      return;
    }
    case kind::list:
      out.append("[");
      write_items(what.items());
      out.append("]");
      return;
    case kind::tuple:
      out.append("(");
      write_items(what.items());
      out.append(what.items().size() == 1 ? ",)" : ")");
      return;
    case kind::dict: {
      out.append("{");
      bool is_first = true;
      for (const auto& [key, item] : what.entries().entries) {
        if (!is_first) out.append(", ");
        is_first = false;
        represent(key, out);
        out.append(": ");
        represent(item, out);
      }
      out.append("}");
      return;
    }
    case kind::undefined: out.append("Undefined"); return;
    default: out.append(to_text(what)); return;
  }
}

inline value from_json(const nlohmann::ordered_json& json, std::string_view where, int depth = 0) {
  if (depth > 90) throw format_error("values nest too deep", where, "nest them less");
  switch (json.type()) {
    case nlohmann::json::value_t::boolean: return json.get<bool>();
    case nlohmann::json::value_t::number_integer: return json.get<std::int64_t>();
    case nlohmann::json::value_t::number_unsigned:
      if (json.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        return json.get<double>();
      return json.get<std::int64_t>();
    case nlohmann::json::value_t::number_float: return json.get<double>();
    case nlohmann::json::value_t::string: return json.get<std::string>();
    case nlohmann::json::value_t::array: {
      std::vector<value> items;
      for (const auto& item : json) items.push_back(from_json(item, where, depth + 1));
      return value::list(std::move(items));
    }
    case nlohmann::json::value_t::object: {
      mapping entries;
      for (const auto& [key, item] : json.items()) entries.set(value(key), from_json(item, where, depth + 1));
      return value::dict(std::move(entries));
    }
    default: return value::none();
  }
}

}  // namespace detail

LODESTONE_INLINE text represent(const value& what) {
  text result;
  detail::represent(what, result);
  return result;
}

LODESTONE_INLINE text to_text(const value& what) {
  switch (what.type()) {
    case kind::undefined: return {};
    case kind::none: return text("None");
    case kind::boolean: return text(what.integer() != 0 ? "True" : "False");
    case kind::integer: return text(std::to_string(what.integer()));
    case kind::real: return text(represent(what.real()));
    case kind::string: return what.string();
    case kind::list:
    case kind::tuple:
    case kind::dict: return represent(what);
    default: break;
  }
  throw evaluation_error(std::string(to_string(what.type())) + " cannot be written as text", {},
                         "a filter such as list or join may be missing");
}

LODESTONE_INLINE value parse_json(std::string_view json, std::string_view where) {
  refuse_zero_byte(json, where);
  try {
    return detail::from_json(nlohmann::ordered_json::parse(json), where);
  } catch (const nlohmann::json::exception& failure) {
    throw format_error(std::string("invalid JSON: ") + failure.what(), where, "write an object of names and values");
  }
}

}  // namespace lodestone::jinja
