// What Python does with values, for jinja_interpreter.hpp: included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <cmath>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/jinja_interpreter.hpp>
#include <lodestone/text/jinja_strings.ipp>

namespace lodestone::jinja::detail {

[[noreturn]] inline void fail_undefined(const value& what) {
  throw evaluation_error("'" + what.name() + "' is undefined");
}

LODESTONE_INLINE std::vector<value> interpreter::iterate(const value& what) {
  std::vector<value> result;
  switch (what.type()) {
    case kind::undefined: break;
    case kind::list:
    case kind::tuple:
    case kind::lazy: result = what.items(); break;
    case kind::dict:
      for (const auto& [key, item] : what.entries().entries) result.push_back(key);
      break;
    case kind::string: {
      const text& all = what.string();
      charge(static_cast<std::int64_t>(all.size()));
      const std::vector<std::size_t> places = characters(all.bytes());
      for (std::size_t i = 0; i + 1 < places.size(); ++i) result.emplace_back(all.part(places[i], places[i + 1]));
      break;
    }
    default: throw evaluation_error(std::string(to_string(what.type())) + " cannot be iterated over");
  }
  charge(static_cast<std::int64_t>(result.size()));
  return result;
}

LODESTONE_INLINE value interpreter::attribute(const value& object, std::string_view name) {
  switch (object.type()) {
    case kind::undefined: fail_undefined(object);
    case kind::loop: {
      const loop_state& loop = object.loop();
      const std::vector<value>& items = loop.sequence.items();
      const auto index = static_cast<std::int64_t>(loop.index);
      const auto count = static_cast<std::int64_t>(items.size());
      if (name == "index") return index + 1;
      if (name == "index0") return index;
      if (name == "revindex") return count - index;
      if (name == "revindex0") return count - index - 1;
      if (name == "first") return index == 0;
      if (name == "last") return index + 1 == count;
      if (name == "length") return count;
      if (name == "depth") return std::int64_t{1};  // only recursive loops have more
      if (name == "depth0") return std::int64_t{0};
      if (name == "previtem") return index > 0 ? items[loop.index - 1] : value::undefined("there is no previous item");
      if (name == "nextitem")
        return index + 1 < count ? items[loop.index + 1] : value::undefined("there is no next item");
      break;
    }
    case kind::space: {
      charge(static_cast<std::int64_t>(object.space().attributes.entries.size() / 8));
      const value* found = object.space().attributes.find(name);
      return found != nullptr ? *found : value::undefined(std::string(name));
    }
    default: break;
  }
  if (has_method(object, name))
    return value::of(std::make_shared<const function>(function{std::string(name), object, nullptr, {}}));
  if (object.is(kind::dict)) {
    charge(static_cast<std::int64_t>(object.entries().entries.size() / 8));
    if (const value* found = object.entries().find(name)) return *found;
  }
  return value::undefined(std::string(name));
}

LODESTONE_INLINE value interpreter::item(const value& object, const value& key) {
  if (object.is(kind::undefined)) fail_undefined(object);
  if (object.is(kind::dict)) {
    charge(static_cast<std::int64_t>(object.entries().entries.size() / 8));
    if (const value* found = object.entries().find(key)) return *found;
  }
  if ((object.is(kind::list) || object.is(kind::tuple)) && key.is_integral()) {
    const auto count = static_cast<std::int64_t>(object.items().size());
    const std::int64_t index = key.integer() < 0 ? key.integer() + count : key.integer();
    if (index >= 0 && index < count) return object.items()[static_cast<std::size_t>(index)];
  }
  if (object.is(kind::string) && key.is_integral()) {
    charge_bytes(object.string().size());
    const std::vector<std::size_t> places = characters(object.string().bytes());
    const auto count = static_cast<std::int64_t>(places.size()) - 1;
    const std::int64_t index = key.integer() < 0 ? key.integer() + count : key.integer();
    if (index >= 0 && index < count) {
      const auto i = static_cast<std::size_t>(index);
      return object.string().part(places[i], places[i + 1]);
    }
  }
  if (key.is(kind::string)) return attribute(object, key.string().bytes());
  return value::undefined(key.is_integral() ? "item " + std::to_string(key.integer()) : "item");
}

LODESTONE_INLINE value interpreter::slice(const value& object, const expression& bounds, scope& where) {
  const auto number = [&](std::size_t i) -> std::optional<std::int64_t> {
    if (!bounds.parts[i]) return std::nullopt;
    const value what = evaluate(*bounds.parts[i], where);
    if (what.is(kind::none)) return std::nullopt;
    if (!what.is_integral())
      throw evaluation_error("a slice needs integers, got " + std::string(to_string(what.type())));
    return what.integer();
  };
  const std::optional<std::int64_t> first = number(0);
  const std::optional<std::int64_t> last = number(1);
  const std::int64_t step = number(2).value_or(1);
  if (step == 0) throw evaluation_error("the step of a slice is 0");
  if (object.is(kind::undefined)) fail_undefined(object);
  const bool is_string = object.is(kind::string);
  if (!is_string && !object.is(kind::list) && !object.is(kind::tuple)) return value::undefined("a slice");
  std::vector<std::size_t> places;
  if (is_string) {
    charge_bytes(object.string().size());
    places = characters(object.string().bytes());
  }
  const auto count = static_cast<std::int64_t>(is_string ? places.size() - 1 : object.items().size());
  const auto clamped = [&](std::optional<std::int64_t> bound, std::int64_t otherwise) {
    if (!bound) return otherwise;
    const std::int64_t at = *bound < 0 ? *bound + count : *bound;
    return step > 0 ? std::clamp<std::int64_t>(at, 0, count) : std::clamp<std::int64_t>(at, -1, count - 1);
  };
  const std::int64_t begin = clamped(first, step > 0 ? 0 : count - 1);
  const std::int64_t end = clamped(last, step > 0 ? count : -1);
  if (is_string && step == 1)
    return object.string().part(places[static_cast<std::size_t>(begin)],
                                places[static_cast<std::size_t>(std::max(begin, end))]);
  std::vector<value> items;
  text part;
  for (std::int64_t i = begin; step > 0 ? i < end : i > end;) {
    const auto at = static_cast<std::size_t>(i);
    if (is_string)
      part.append(object.string(), places[at], places[at + 1]);
    else
      items.push_back(object.items()[at]);
    if (std::abs(end - i) <= std::abs(step)) break;  // also where a huge step would overflow
    i += step;
  }
  charge(static_cast<std::int64_t>(items.size()));
  if (is_string) return written(std::move(part));
  return value::list(std::move(items), object.type());
}

LODESTONE_INLINE bool interpreter::is_equal(const value& a, const value& b) {
  charge(std::min(a.size().weight, b.size().weight));
  return equal(a, b);
}

LODESTONE_INLINE int interpreter::order(const value& a, const value& b) {
  if (a.is(kind::undefined)) fail_undefined(a);
  if (b.is(kind::undefined)) fail_undefined(b);
  if (a.is_integral() && b.is_integral()) return a.integer() < b.integer() ? -1 : a.integer() > b.integer() ? 1 : 0;
  if (a.is_number() && b.is_number()) return a.real() < b.real() ? -1 : a.real() > b.real() ? 1 : 0;
  charge(std::min(a.size().weight, b.size().weight));
  if (a.is(kind::string) && b.is(kind::string)) return a.string().bytes().compare(b.string().bytes());
  if (a.is_sequence() && a.type() == b.type()) {
    const std::size_t count = std::min(a.items().size(), b.items().size());
    for (std::size_t i = 0; i < count; ++i)
      if (!equal(a.items()[i], b.items()[i])) return order(a.items()[i], b.items()[i]);
    return a.items().size() < b.items().size() ? -1 : a.items().size() > b.items().size() ? 1 : 0;
  }
  throw evaluation_error(std::string(to_string(a.type())) + " and " + std::string(to_string(b.type())) +
                         " have no order");
}

LODESTONE_INLINE bool interpreter::contains(const value& container, const value& what) {
  if (container.is(kind::string)) {
    if (!what.is(kind::string))
      throw evaluation_error("only a string can be in a string, got " + std::string(to_string(what.type())));
    charge_bytes(container.string().size());
    return container.string().bytes().find(what.string().bytes()) != std::string::npos;
  }
  charge(container.size().weight);
  if (container.is(kind::dict)) return container.entries().find(what) != nullptr;
  const std::vector<value> items = iterate(container);
  return std::any_of(items.begin(), items.end(), [&](const value& item) { return is_equal(item, what); });
}

LODESTONE_INLINE value interpreter::arithmetic(std::string_view name, const value& a, const value& b) {
  if (a.is(kind::undefined)) fail_undefined(a);
  if (b.is(kind::undefined)) fail_undefined(b);
  const char op = name[0];
  const auto overflow = [] { throw evaluation_error("a number does not fit into 64 bits"); };
  if (name == "%" && a.is(kind::string)) return written(format_percent(a.string(), b));
  if (a.is(kind::string) && b.is(kind::string) && op == '+') {
    text result = a.string();
    result.append(b.string());
    return written(std::move(result));
  }
  if (op == '+' && a.is_sequence() && a.type() == b.type() && !a.is(kind::lazy)) {
    std::vector<value> items = a.items();
    items.insert(items.end(), b.items().begin(), b.items().end());
    charge(static_cast<std::int64_t>(items.size()));
    return value::list(std::move(items), a.type());
  }
  const bool repeats = name == "*" && (a.is_integral() != b.is_integral());
  const value& many = a.is_integral() ? b : a;
  if (repeats && (many.is(kind::string) || many.is(kind::list) || many.is(kind::tuple))) {
    const std::int64_t times = std::max<std::int64_t>(0, a.is_integral() ? a.integer() : b.integer());
    const auto size =
        static_cast<std::int64_t>(many.is(kind::string) ? many.string().size() / 8 + 1 : many.items().size() + 1);
    charge(times > left_ / size ? left_ + 1 : times * size);
    text repeated;
    std::vector<value> items;
    for (std::int64_t i = 0; i < times; ++i) {
      if (many.is(kind::string))
        repeated.append(many.string());
      else
        items.insert(items.end(), many.items().begin(), many.items().end());
    }
    return many.is(kind::string) ? value(std::move(repeated)) : value::list(std::move(items), many.type());
  }
  if (!a.is_number() || !b.is_number())
    throw evaluation_error("'" + std::string(name) + "' between " + std::string(to_string(a.type())) + " and " +
                           std::string(to_string(b.type())));
  const bool is_integral = a.is_integral() && b.is_integral();
  if ((op == '/' || op == '%') && b.real() == 0.0) throw evaluation_error("division by zero");
  if (name == "/") return a.real() / b.real();
  if (name == "**") {
    if (!is_integral || b.integer() < 0) return std::pow(a.real(), b.real());
    std::int64_t result = 1;
    const std::int64_t base = a.integer();
    if (base == 0 || base == 1) return b.integer() == 0 ? std::int64_t{1} : base;
    if (base == -1) return b.integer() % 2 == 0 ? std::int64_t{1} : std::int64_t{-1};
    for (std::int64_t i = 0; i < b.integer(); ++i)
      if (__builtin_mul_overflow(result, base, &result)) overflow();
    return result;
  }
  if (!is_integral) {
    const double x = a.real();
    const double y = b.real();
    if (op == '+') return x + y;
    if (op == '-') return x - y;
    if (op == '*') return x * y;
    if (name == "//") return std::floor(x / y);
    const double rest = std::fmod(x, y);
    return rest != 0.0 && (rest < 0) != (y < 0) ? rest + y : rest;
  }
  const std::int64_t x = a.integer();
  const std::int64_t y = b.integer();
  std::int64_t result = 0;
  if (op == '+'   ? __builtin_add_overflow(x, y, &result)
      : op == '-' ? __builtin_sub_overflow(x, y, &result)
                  : op == '*' && __builtin_mul_overflow(x, y, &result))
    overflow();
  if (op == '+' || op == '-' || op == '*') return result;
  if (y == -1) {  // the quotient of the least number would overflow
    if (op == '%') return std::int64_t{0};
    return arithmetic("-", value(std::int64_t{0}), a);
  }
  const std::int64_t rest = x % y;
  const bool is_adjusted = rest != 0 && (rest < 0) != (y < 0);
  if (op == '%') return is_adjusted ? rest + y : rest;
  return x / y - (is_adjusted ? 1 : 0);
}

}  // namespace lodestone::jinja::detail
