// The expressions of Jinja, from tokens to trees. A part of jinja_parser.ipp.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/text/jinja_cursor.ipp>
#include <lodestone/text/jinja_syntax.hpp>

namespace lodestone::jinja::detail {

/// Recursive descent, in Jinja's order of precedence.
class expression_parser : protected token_cursor {
 public:
  using token_cursor::token_cursor;

 protected:
  [[nodiscard]] bool ends_tuple(std::string_view word) const {
    return is(token_kind::variable_end) || is(token_kind::block_end) || is_symbol(")") ||
           (!word.empty() && is_name(word));
  }

  /// An expression, or several between commas; `word` ends it too.
  [[nodiscard]] expression_ptr parse_tuple(std::string_view word = {}, bool has_condition = true,
                                           bool is_in_parentheses = false) {
    const place at = now().at;
    std::vector<expression_ptr> items;
    bool is_tuple = false;
    for (;;) {
      if (!items.empty()) expect_symbol(",");
      if (ends_tuple(word)) break;
      items.push_back(has_condition ? parse_expression() : parse_or());
      if (!is_symbol(",")) break;
      is_tuple = true;
    }
    if (!is_tuple && !items.empty()) return std::move(items.front());
    if (!is_tuple && !is_in_parentheses) fail("expected an expression, found " + shown());
    expression_ptr tuple = make(kinds::tuple, at);
    for (expression_ptr& item : items) adopt(*tuple, std::move(item));
    return tuple;
  }

  [[nodiscard]] expression_ptr parse_expression() {
    const deeper guard(*this);
    const place at = now().at;
    expression_ptr result = parse_or();
    while (skip_name("if")) {
      expression_ptr node = make(kinds::conditional, at);
      adopt(*node, parse_or());
      adopt(*node, std::move(result));
      adopt(*node, skip_name("else") ? parse_expression() : nullptr);
      result = std::move(node);
    }
    return result;
  }

  [[nodiscard]] expression_ptr parse_or() {
    const place at = now().at;
    expression_ptr left = parse_and();
    while (skip_name("or")) left = make(kinds::logical_or, at, {}, std::move(left), parse_and());
    return left;
  }

  [[nodiscard]] expression_ptr parse_and() {
    const place at = now().at;
    expression_ptr left = parse_not();
    while (skip_name("and")) left = make(kinds::logical_and, at, {}, std::move(left), parse_not());
    return left;
  }

  [[nodiscard]] expression_ptr parse_not() {
    const deeper guard(*this);
    const place at = now().at;
    if (!skip_name("not")) return parse_compare();
    expression_ptr node = make(kinds::logical_not, at);
    adopt(*node, parse_not());
    return node;
  }

  [[nodiscard]] expression_ptr parse_compare() {
    const place at = now().at;
    expression_ptr first = parse_sum();
    expression_ptr node;
    for (;;) {
      std::string name;
      for (const char* symbol : {"==", "!=", "<=", ">=", "<", ">"})
        if (is_symbol(symbol)) name = symbol;
      if (!name.empty()) {
        next();
      } else if (skip_name("in")) {
        name = "in";
      } else if (is_name("not") && after().what == token_kind::name && after().text == "in") {
        next();
        next();
        name = "not in";
      } else {
        break;
      }
      if (!node) {
        node = make(kinds::compare, at);
        adopt(*node, std::move(first));
      }
      node->operators.push_back(std::move(name));
      adopt(*node, parse_sum());
    }
    return node ? std::move(node) : std::move(first);
  }

  [[nodiscard]] expression_ptr parse_sum() {
    const place at = now().at;
    expression_ptr left = parse_concat();
    while (is_symbol("+") || is_symbol("-")) {
      std::string name = now().text;
      next();
      left = make(kinds::arithmetic, at, std::move(name), std::move(left), parse_concat());
    }
    return left;
  }

  [[nodiscard]] expression_ptr parse_concat() {
    const place at = now().at;
    expression_ptr first = parse_product();
    if (!is_symbol("~")) return first;
    expression_ptr node = make(kinds::concat, at);
    adopt(*node, std::move(first));
    while (skip_symbol("~")) adopt(*node, parse_product());
    return node;
  }

  [[nodiscard]] expression_ptr parse_product() {
    const place at = now().at;
    expression_ptr left = parse_power();
    while (is_symbol("*") || is_symbol("/") || is_symbol("//") || is_symbol("%")) {
      std::string name = now().text;
      next();
      left = make(kinds::arithmetic, at, std::move(name), std::move(left), parse_power());
    }
    return left;
  }

  [[nodiscard]] expression_ptr parse_power() {
    const place at = now().at;
    expression_ptr left = parse_unary(true);
    while (skip_symbol("**")) left = make(kinds::arithmetic, at, "**", std::move(left), parse_unary(true));
    return left;
  }

  [[nodiscard]] expression_ptr parse_unary(bool has_filters) {
    const deeper guard(*this);
    const place at = now().at;
    expression_ptr node;
    if (is_symbol("-") || is_symbol("+")) {
      node = make(kinds::negation, at, now().text);
      next();
      adopt(*node, parse_unary(false));
    } else {
      node = parse_primary();
    }
    node = parse_postfix(std::move(node));
    return has_filters ? parse_filters_and_tests(std::move(node)) : std::move(node);
  }

  [[nodiscard]] expression_ptr make_constant(place at, value what) const {
    expression_ptr node = make(kinds::constant, at);
    node->constant = std::move(what);
    return node;
  }

  [[nodiscard]] expression_ptr parse_primary() {
    const token here = now();
    switch (here.what) {
      case token_kind::name:
        next();
        if (here.text == "true" || here.text == "True") return make_constant(here.at, true);
        if (here.text == "false" || here.text == "False") return make_constant(here.at, false);
        if (here.text == "none" || here.text == "None") return make_constant(here.at, value::none());
        names_varargs_ = names_varargs_ || here.text == "varargs";
        names_kwargs_ = names_kwargs_ || here.text == "kwargs";
        return make(kinds::name, here.at, here.text);
      case token_kind::string: {
        std::string text;
        for (; is(token_kind::string); next()) text += now().text;
        return make_constant(here.at, value(std::move(text)));
      }
      case token_kind::integer: {
        std::int64_t number = 0;
        const char* end = here.text.data() + here.text.size();
        if (std::from_chars(here.text.data(), end, number).ec != std::errc())
          fail("the number does not fit into 64 bits");
        next();
        return make_constant(here.at, number);
      }
      case token_kind::real: {
        double number = 0;
        if (std::from_chars(here.text.data(), here.text.data() + here.text.size(), number).ec != std::errc())
          fail("the number is out of range");
        next();
        return make_constant(here.at, number);
      }
      case token_kind::symbol:
        if (here.text == "(") {
          next();
          expression_ptr inner = parse_tuple({}, true, true);
          expect_symbol(")");
          return inner;
        }
        if (here.text == "[") return parse_list();
        if (here.text == "{") return parse_dict();
        break;
      default: break;
    }
    fail("expected an expression, found " + shown());
  }

  [[nodiscard]] expression_ptr parse_list() {
    expression_ptr node = make(kinds::list, now().at);
    next();
    while (!is_symbol("]")) {
      if (!node->parts.empty()) expect_symbol(",");
      if (is_symbol("]")) break;
      adopt(*node, parse_expression());
    }
    next();
    return node;
  }

  [[nodiscard]] expression_ptr parse_dict() {
    expression_ptr node = make(kinds::dict, now().at);
    next();
    while (!is_symbol("}")) {
      if (!node->parts.empty()) expect_symbol(",");
      if (is_symbol("}")) break;
      adopt(*node, parse_expression());
      expect_symbol(":");
      adopt(*node, parse_expression());
    }
    next();
    return node;
  }

  [[nodiscard]] expression_ptr parse_postfix(expression_ptr node) {
    for (;;) {
      if (is_symbol("."))
        node = parse_attribute(std::move(node));
      else if (is_symbol("["))
        node = parse_subscript(std::move(node));
      else if (is_symbol("("))
        node = parse_call(std::move(node));
      else
        return node;
    }
  }

  [[nodiscard]] expression_ptr parse_attribute(expression_ptr object) {
    const place at = now().at;
    next();
    if (is(token_kind::integer)) return make(kinds::item, at, {}, std::move(object), parse_primary());
    expression_ptr node = make(kinds::attribute, at, take_name());
    adopt(*node, std::move(object));
    return node;
  }

  [[nodiscard]] expression_ptr parse_subscript(expression_ptr object) {
    const place at = now().at;
    next();
    const auto bound = [&]() -> expression_ptr {
      if (is_symbol(":") || is_symbol("]")) return nullptr;
      return parse_expression();
    };
    const place begin = now().at;
    expression_ptr key = bound();
    if (is_symbol(":")) {
      expression_ptr slice = make(kinds::slice, begin);
      adopt(*slice, std::move(key));
      next();
      adopt(*slice, bound());
      adopt(*slice, skip_symbol(":") ? bound() : nullptr);
      key = std::move(slice);
    } else if (!key) {
      fail("expected an index, found " + shown());
    }
    if (is_symbol(",")) fail_unsupported("a subscript of several values");
    expect_symbol("]");
    return make(kinds::item, at, {}, std::move(object), std::move(key));
  }

  void parse_arguments(expression& node) {
    expect_symbol("(");
    bool is_named = false;
    while (!is_symbol(")")) {
      if (!node.arguments.empty()) expect_symbol(",");
      if (is_symbol(")")) break;
      argument one;
      if (skip_symbol("*")) {
        one.stars = 1;
      } else if (skip_symbol("**")) {
        one.stars = 2;
      } else if (is(token_kind::name) && after().what == token_kind::symbol && after().text == "=") {
        one.name = take_name();
        next();
      } else if (is_named) {
        fail("an argument by place follows one by name");
      }
      is_named = is_named || one.stars > 0 || !one.name.empty();
      one.what = parse_expression();
      node.depth = std::max(node.depth, one.what->depth + 1);
      if (node.depth > deepest_tree) fail("the expression is too long");
      node.arguments.push_back(std::move(one));
    }
    next();
  }

  [[nodiscard]] expression_ptr parse_call(expression_ptr callee) {
    expression_ptr node = make(kinds::call, now().at);
    adopt(*node, std::move(callee));
    parse_arguments(*node);
    return node;
  }

  [[nodiscard]] expression_ptr parse_filters_and_tests(expression_ptr node) {
    for (;;) {
      if (is_symbol("|"))
        node = parse_filters(std::move(node), false);
      else if (is_name("is"))
        node = parse_test(std::move(node));
      else if (is_symbol("("))
        node = parse_call(std::move(node));
      else
        return node;
    }
  }

  [[nodiscard]] expression_ptr parse_filters(expression_ptr node, bool starts_inline) {
    while (starts_inline || is_symbol("|")) {
      if (!starts_inline) next();
      starts_inline = false;
      const place at = now().at;
      expression_ptr filter = make(kinds::filter, at, take_name());
      adopt(*filter, std::move(node));
      if (is_symbol("(")) parse_arguments(*filter);
      node = std::move(filter);
    }
    return node;
  }

  [[nodiscard]] expression_ptr parse_test(expression_ptr input) {
    const place at = now().at;
    next();
    const bool is_negated = skip_name("not");
    expression_ptr node = make(kinds::test, at, take_name());
    adopt(*node, std::move(input));
    const bool is_value = is(token_kind::string) || is(token_kind::integer) || is(token_kind::real) || is_symbol("[") ||
                          is_symbol("{") ||
                          (is(token_kind::name) && !is_name("else") && !is_name("or") && !is_name("and"));
    if (is_symbol("(")) {
      parse_arguments(*node);
    } else if (is_value) {
      if (is_name("is")) fail("tests cannot be chained");
      argument one;
      one.what = parse_postfix(parse_primary());
      node->depth = std::max(node->depth, one.what->depth + 1);
      node->arguments.push_back(std::move(one));
    }
    if (!is_negated) return node;
    expression_ptr negated = make(kinds::logical_not, at);
    adopt(*negated, std::move(node));
    return negated;
  }

  bool names_varargs_ = false;
  bool names_kwargs_ = false;
};

}  // namespace lodestone::jinja::detail
