// Statements and expressions of jinja_interpreter.hpp: included by it, or compiled once into lodestone::compiled. A
// little more than 400 lines: statements and expressions call each other.
#pragma once

#include <algorithm>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/jinja_interpreter.hpp>
#include <lodestone/text/jinja_operations.ipp>

namespace lodestone::jinja {

/// Names and their values; lookups go on in `parent`.
struct scope {
  std::vector<std::pair<std::string, value>> names{};
  std::shared_ptr<scope> parent{};

  [[nodiscard]] const value* find(std::string_view name) const {
    for (const scope* at = this; at != nullptr; at = at->parent.get())
      for (const auto& [known, what] : at->names)
        if (known == name) return &what;
    return nullptr;
  }
  void set(const std::string& name, value what) {
    for (auto& [known, old] : names) {
      if (known != name) continue;
      old = std::move(what);
      return;
    }
    names.emplace_back(name, std::move(what));
  }
};

namespace detail {

[[nodiscard]] inline std::shared_ptr<scope> inside(const std::shared_ptr<scope>& parent) {
  auto result = std::make_shared<scope>();
  result->parent = parent;
  return result;
}

LODESTONE_INLINE bound::bound(const arguments& given, std::string_view callee,
                              std::initializer_list<std::string_view> parameters)
    : callee_(callee), found_(parameters.size(), nullptr) {
  if (given.places.size() > parameters.size())
    throw evaluation_error(std::string(callee) + " takes at most " + std::to_string(parameters.size()) +
                           " arguments, got " + std::to_string(given.places.size()));
  for (std::size_t i = 0; i < given.places.size(); ++i) found_[i] = &given.places[i];
  for (const auto& [name, what] : given.names) {
    const auto place = std::find(parameters.begin(), parameters.end(), name);
    if (place == parameters.end()) throw evaluation_error(std::string(callee) + " has no parameter '" + name + "'");
    found_[static_cast<std::size_t>(place - parameters.begin())] = &what;
  }
}

LODESTONE_INLINE std::int64_t bound::integer(std::size_t i, std::int64_t otherwise) const {
  if (found_[i] == nullptr || found_[i]->is(kind::none)) return otherwise;
  if (!found_[i]->is_integral())
    throw evaluation_error(std::string(callee_) + " needs an integer, got " +
                           std::string(to_string(found_[i]->type())));
  return found_[i]->integer();
}

LODESTONE_INLINE bool bound::truth(std::size_t i, bool otherwise) const {
  return found_[i] == nullptr ? otherwise : found_[i]->truth();
}

LODESTONE_INLINE interpreter::deeper::deeper(interpreter& owner) : owner(owner) {
  if (++owner.depth_ > 500) {
    --owner.depth_;  // the destructor does not run
    throw evaluation_error("macros call each other too deep");
  }
}

LODESTONE_INLINE void interpreter::charge(std::int64_t steps) {
  if (steps > left_)
    throw evaluation_error("the template does not end within its number of steps", {}, "name a built-in template");
  left_ -= steps;
}

LODESTONE_INLINE value interpreter::written(text what) {
  charge_bytes(what.size());
  return value(std::move(what));
}

LODESTONE_INLINE rendering interpreter::run(const std::vector<std::pair<std::string, value>>& values) {
  const auto root = std::make_shared<scope>();
  left_ = around_.steps;
  for (const char* name : {"range", "dict", "namespace", "raise_exception", "strftime_now"})
    root->set(name, value::of(std::make_shared<const function>(function{name, std::nullopt, nullptr, {}})));
  for (const auto& [name, what] : values) {
    root->set(name, what);
    left_ += 64 * what.size().weight;
  }
  text output;
  output_ = &output;
  struct cleaner {
    interpreter& owner;
    ~cleaner() {
      for (const auto& space : owner.spaces_) space->attributes.entries.clear();
      owner.kept_.clear();
    }
  } const guard{*this};
  const auto fail = [&](const error& failure) {
    throw template_error(failure.what(), jinja::describe(program_.name, here_));
  };
  try {
    (void)execute(program_.body, root);
  } catch (const evaluation_error& failure) {
    fail(failure);
  }
  root->names.clear();
  return {std::move(output), std::move(generated_)};
}

// --- Statements

LODESTONE_INLINE void interpreter::emit(const text& what) {
  charge_bytes(what.size());
  output_->append(what);
}

LODESTONE_INLINE text interpreter::capture(const block& body, const std::shared_ptr<scope>& where) {
  text result;
  text* const before = std::exchange(output_, &result);
  ++captures_;
  struct restore {
    interpreter& owner;
    text* before;
    ~restore() {
      owner.output_ = before;
      --owner.captures_;
    }
  } const guard{*this, before};
  (void)execute(body, where);
  return result;
}

LODESTONE_INLINE flow interpreter::execute(const block& statements, const std::shared_ptr<scope>& where) {
  for (const statement& one : statements)
    if (const flow end = execute(one, where); end != flow::normal) return end;
  return flow::normal;
}

LODESTONE_INLINE flow interpreter::execute(const statement& one, const std::shared_ptr<scope>& where) {
  const deeper guard(*this);
  charge(1);
  here_ = one.at;
  switch (one.kind) {
    case statement_kind::text:
      charge_bytes(one.text.size());
      output_->append(one.text);
      break;
    case statement_kind::print: emit(to_text(evaluate(*one.what, *where))); break;
    case statement_kind::assign: assign(*one.target, evaluate(*one.what, *where), *where); break;
    case statement_kind::assign_block: {
      value result = value(capture(one.body, inside(where)));
      if (one.what) result = evaluate_filters(*one.what, result, *where);
      assign(*one.target, result, *where);
      break;
    }
    case statement_kind::loop: return execute_loop(one, where);
    case statement_kind::branch:
      for (const auto& [condition, body] : one.branches)
        if (evaluate(*condition, *where).truth()) return execute(body, where);
      return execute(one.otherwise, where);
    case statement_kind::with: {
      const auto inner = inside(where);
      for (const auto& [target, what] : one.bindings) assign(*target, evaluate(*what, *where), *inner);
      return execute(one.body, inner);
    }
    case statement_kind::macro:
      kept_.push_back(where);
      where->set(
          one.callee->name,
          value::of(std::make_shared<const function>(function{one.callee->name, std::nullopt, one.callee, where})));
      break;
    case statement_kind::call_block: {
      kept_.push_back(where);
      const value caller =
          value::of(std::make_shared<const function>(function{"caller", std::nullopt, one.callee, where}));
      emit(to_text(evaluate_call(*one.what, *where, &caller)));
      break;
    }
    case statement_kind::filter_block:
      emit(to_text(evaluate_filters(*one.what, value(capture(one.body, inside(where))), *where)));
      break;
    case statement_kind::generation: {
      if (captures_ > 0)
        throw evaluation_error("a generation block inside a macro, a set block or a filter block is not supported");
      const std::size_t begin = output_->size();
      const flow end = execute(one.body, inside(where));
      generated_.push_back({begin, output_->size()});
      return end;
    }
    case statement_kind::break_loop: return flow::broken;
    case statement_kind::continue_loop: return flow::continued;
  }
  return flow::normal;
}

LODESTONE_INLINE flow interpreter::execute_loop(const statement& one, const std::shared_ptr<scope>& where) {
  std::vector<value> items = iterate(evaluate(*one.what, *where));
  if (one.test) {
    std::vector<value> chosen;
    for (value& item : items) {
      const auto inner = inside(where);
      assign(*one.target, item, *inner);
      if (evaluate(*one.test, *inner).truth()) chosen.push_back(std::move(item));
    }
    items = std::move(chosen);
  }
  if (items.empty()) return execute(one.otherwise, where);
  const value sequence = value::list(std::move(items));
  flow end = flow::normal;
  for (std::size_t i = 0; i < sequence.items().size() && end != flow::broken; ++i) {
    const auto inner = inside(where);
    inner->set("loop", value::of(std::make_shared<const loop_state>(loop_state{sequence, i})));
    assign(*one.target, sequence.items()[i], *inner);
    end = execute(one.body, inner);
  }
  return flow::normal;
}

LODESTONE_INLINE void interpreter::assign(const expression& target, const value& what, scope& where) {
  switch (target.what) {
    case expression_kind::tuple: {
      const std::vector<value> items = iterate(what);
      if (items.size() != target.parts.size())
        throw evaluation_error(std::to_string(target.parts.size()) + " names take " + std::to_string(items.size()) +
                               " values");
      for (std::size_t i = 0; i < items.size(); ++i) assign(*target.parts[i], items[i], where);
      return;
    }
    case expression_kind::attribute: {
      const value* space = where.find(target.parts[0]->name);
      if (space == nullptr || !space->is(kind::space))
        throw evaluation_error("only attributes of a namespace can be assigned; '" + target.parts[0]->name +
                               "' is none");
      if (target.name.starts_with("_")) throw evaluation_error("a namespace's names cannot begin with '_'");
      charge(static_cast<std::int64_t>(space->space().attributes.entries.size()));
      space->space().attributes.set(value(target.name), what);
      return;
    }
    default: where.set(target.name, what);
  }
}

// --- Expressions

LODESTONE_INLINE value interpreter::evaluate(const expression& one, scope& where) {
  const deeper guard(*this);
  charge(1);
  here_ = one.at;
  const auto part = [&](std::size_t i) { return evaluate(*one.parts[i], where); };
  switch (one.what) {
    case expression_kind::constant: return one.constant;
    case expression_kind::name: {
      const value* found = where.find(one.name);
      return found != nullptr ? *found : value::undefined(one.name);
    }
    case expression_kind::list:
    case expression_kind::tuple: {
      std::vector<value> items;
      for (const expression_ptr& item : one.parts) items.push_back(evaluate(*item, where));
      return value::list(std::move(items), one.what == expression_kind::list ? kind::list : kind::tuple);
    }
    case expression_kind::dict: {
      mapping entries;
      for (std::size_t i = 0; i < one.parts.size(); i += 2) {
        charge(static_cast<std::int64_t>(entries.entries.size()));
        const value key = part(i);
        entries.set(key, part(i + 1));
      }
      return value::dict(std::move(entries));
    }
    case expression_kind::attribute: {
      const value object = part(0);
      here_ = one.at;
      return attribute(object, one.name);
    }
    case expression_kind::item: {
      const value object = part(0);
      if (one.parts[1]->what == expression_kind::slice) return slice(object, *one.parts[1], where);
      const value key = part(1);
      here_ = one.at;
      return item(object, key);
    }
    case expression_kind::call: return evaluate_call(one, where, nullptr);
    case expression_kind::filter: {
      const value input = part(0);
      const arguments given = evaluate_arguments(one, where);
      here_ = one.at;
      return filter(one.name, input, given);
    }
    case expression_kind::test: {
      const value input = part(0);
      const arguments given = evaluate_arguments(one, where);
      here_ = one.at;
      return test(one.name, input, given);
    }
    case expression_kind::logical_not: return !part(0).truth();
    case expression_kind::logical_and: {
      value left = part(0);
      return left.truth() ? part(1) : left;
    }
    case expression_kind::logical_or: {
      value left = part(0);
      return left.truth() ? left : part(1);
    }
    case expression_kind::conditional:
      if (part(0).truth()) return part(1);
      return one.parts[2] ? part(2) : value::undefined("the inline if without else");
    default: return evaluate_operation(one, where);
  }
}

LODESTONE_INLINE value interpreter::evaluate_operation(const expression& one, scope& where) {
  if (one.what == expression_kind::concat) {
    text result;
    for (const expression_ptr& operand : one.parts) result.append(to_text(evaluate(*operand, where)));
    return written(std::move(result));
  }
  value left = evaluate(*one.parts[0], where);
  if (one.what == expression_kind::negation) {
    here_ = one.at;
    if (!left.is_number()) throw evaluation_error("the sign of " + std::string(to_string(left.type())));
    if (one.name == "+") return left.is(kind::boolean) ? value(left.integer()) : left;
    if (left.is(kind::real)) return -left.real();
    return arithmetic("-", value(std::int64_t{0}), left);
  }
  if (one.what == expression_kind::compare) {
    for (std::size_t i = 0; i < one.operators.size(); ++i) {
      value right = evaluate(*one.parts[i + 1], where);
      here_ = one.at;
      const std::string& name = one.operators[i];
      const bool holds = name == "=="       ? is_equal(left, right)
                         : name == "!="     ? !is_equal(left, right)
                         : name == "in"     ? contains(right, left)
                         : name == "not in" ? !contains(right, left)
                         : name == "<"      ? order(left, right) < 0
                         : name == "<="     ? order(left, right) <= 0
                         : name == ">"      ? order(left, right) > 0
                                            : order(left, right) >= 0;
      if (!holds) return false;
      left = std::move(right);
    }
    return true;
  }
  const value right = evaluate(*one.parts[1], where);
  here_ = one.at;
  return arithmetic(one.name, left, right);
}

LODESTONE_INLINE arguments interpreter::evaluate_arguments(const expression& one, scope& where) {
  arguments given;
  for (const argument& each : one.arguments) {
    value what = evaluate(*each.what, where);
    if (each.stars == 1) {
      for (value& item : iterate(what)) given.places.push_back(std::move(item));
    } else if (each.stars == 2) {
      if (!what.is(kind::dict)) throw evaluation_error("** needs a dict, got " + std::string(to_string(what.type())));
      for (const auto& [name, item] : what.entries().entries)
        given.names.emplace_back(jinja::to_text(name).bytes(), item);
    } else if (!each.name.empty()) {
      given.names.emplace_back(each.name, std::move(what));
    } else {
      given.places.push_back(std::move(what));
    }
  }
  return given;
}

LODESTONE_INLINE value interpreter::evaluate_call(const expression& one, scope& where, const value* caller) {
  const deeper guard(*this);
  const value callee = evaluate(*one.parts[0], where);
  arguments given = evaluate_arguments(one, where);
  if (caller != nullptr) given.names.emplace_back("caller", *caller);
  here_ = one.at;
  return call(callee, given);
}

LODESTONE_INLINE value interpreter::evaluate_filters(const expression& one, const value& input, scope& where) {
  const value inner = one.parts[0] ? evaluate_filters(*one.parts[0], input, where) : input;
  const arguments given = evaluate_arguments(one, where);
  here_ = one.at;
  return filter(one.name, inner, given);
}

LODESTONE_INLINE value interpreter::call(const value& callee, const arguments& given) {
  if (callee.is(kind::undefined)) fail_undefined(callee);
  if (!callee.is(kind::callable)) throw evaluation_error(std::string(to_string(callee.type())) + " cannot be called");
  const function& target = callee.callee();
  if (target.body) return call_macro(target, given);
  if (target.object) return method(*target.object, target.name, given);
  return builtin(target.name, given);
}

LODESTONE_INLINE value interpreter::call_macro(const function& callee, const arguments& given) {
  const deeper guard(*this);
  const macro& body = *callee.body;
  const auto inner = inside(callee.where.lock());
  const std::size_t count = body.parameters.size();
  std::vector<std::optional<value>> values(count);
  std::vector<value> more;
  mapping named;
  for (std::size_t i = 0; i < given.places.size(); ++i) {
    if (i < count)
      values[i] = given.places[i];
    else
      more.push_back(given.places[i]);
  }
  for (const auto& [name, what] : given.names) {
    const auto place = std::find(body.parameters.begin(), body.parameters.end(), name);
    if (place != body.parameters.end())
      values[static_cast<std::size_t>(place - body.parameters.begin())] = what;
    else if (name == "caller")
      inner->set(name, what);
    else if (body.uses_kwargs)
      named.set(value(name), what);
    else
      throw evaluation_error("the macro '" + callee.name + "' has no parameter '" + name + "'");
  }
  if (!more.empty() && !body.uses_varargs)
    throw evaluation_error("the macro '" + callee.name + "' takes at most " + std::to_string(count) + " arguments");
  if (body.uses_varargs) inner->set("varargs", value::list(std::move(more), kind::tuple));
  if (body.uses_kwargs) inner->set("kwargs", value::dict(std::move(named)));
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t first_default = count - body.defaults.size();
    if (values[i])
      inner->set(body.parameters[i], *values[i]);
    else if (i >= first_default)
      inner->set(body.parameters[i], evaluate(*body.defaults[i - first_default], *inner));
    else
      inner->set(body.parameters[i], value::undefined(body.parameters[i]));
  }
  return value(capture(body.body, inner));
}

}  // namespace detail

LODESTONE_INLINE rendering run(const program& what, const std::vector<std::pair<std::string, value>>& values,
                               const environment& around) {
  return detail::interpreter(what, around).run(values);
}

}  // namespace lodestone::jinja
