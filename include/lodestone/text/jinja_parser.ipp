// Definition of jinja_syntax.hpp's parse(): included by it, or compiled once into lodestone::compiled.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/jinja_expressions.ipp>
#include <lodestone/text/jinja_syntax.hpp>

namespace lodestone::jinja {

namespace detail {

/// The statements of a template.
class parser : expression_parser {
 public:
  using expression_parser::expression_parser;

  program run() {
    program result;
    result.name = name();
    result.body = parse_block({});
    result.has_generation = has_generation_;
    return result;
  }

 private:
  /// Statements up to a block whose name is one of `ends`, which is left as the current token; at the top level to the
  /// end of the source.
  [[nodiscard]] block parse_block(std::initializer_list<std::string_view> ends) {
    const deeper guard(*this);
    const place begin = opened_;
    block body;
    for (;;) {
      if (is(token_kind::end)) {
        if (ends.size() != 0)
          fail_at(begin, "the block has no end", "close it with {% " + std::string(*(ends.end() - 1)) + " %}");
        return body;
      }
      const place at = now().at;
      if (is(token_kind::data)) {
        statement& text = body.emplace_back();
        text.at = at;
        text.text = now().text;
        next();
      } else if (is(token_kind::variable_begin)) {
        next();
        statement& print = body.emplace_back();
        print.kind = statement_kind::print;
        print.at = at;
        print.what = parse_tuple();
        expect(token_kind::variable_end, "}}");
      } else {
        expect(token_kind::block_begin, "a tag");
        opened_ = at;
        if (is(token_kind::name) && std::find(ends.begin(), ends.end(), now().text) != ends.end()) return body;
        statement one = parse_statement();
        one.at = at;
        body.push_back(std::move(one));
        expect(token_kind::block_end, "%}");
      }
    }
  }

  /// The body of a block with its closing tag; the current token is then the tag's end.
  [[nodiscard]] block parse_body(std::initializer_list<std::string_view> ends) {
    skip_symbol(":");
    expect(token_kind::block_end, "%}");
    return parse_block(ends);
  }
  [[nodiscard]] block parse_whole_body(std::string_view end) {
    block body = parse_body({end});
    next();
    return body;
  }

  [[nodiscard]] statement parse_statement() {
    if (!is(token_kind::name)) fail("expected the name of a block, found " + shown());
    const std::string name = now().text;
    statement result;
    if (name == "if") return parse_if();
    if (name == "for") return parse_for();
    if (name == "set") return parse_set();
    if (name == "with") return parse_with();
    if (name == "macro") return parse_macro();
    if (name == "call") return parse_call_block();
    if (name == "print") {
      next();
      result.kind = statement_kind::print;
      result.what = parse_expression();
      if (is_symbol(",")) fail_unsupported("a print block of several values");
      return result;
    }
    if (name == "filter") {
      next();
      result.kind = statement_kind::filter_block;
      result.what = parse_filters(nullptr, true);
      result.body = parse_whole_body("endfilter");
      return result;
    }
    if (name == "generation") {
      next();
      has_generation_ = true;
      result.kind = statement_kind::generation;
      result.body = parse_whole_body("endgeneration");
      return result;
    }
    if (name == "break" || name == "continue") {
      if (loops_ == 0) fail("'" + name + "' stands outside a loop");
      next();
      result.kind = name == "break" ? statement_kind::break_loop : statement_kind::continue_loop;
      return result;
    }
    for (const char* other : {"include", "import", "from", "extends", "block", "autoescape", "trans", "do", "debug"})
      if (name == other) fail_unsupported("the block '" + name + "'");
    if (name.starts_with("end") || name == "else" || name == "elif") fail("nothing is open that '" + name + "' closes");
    fail("there is no block called '" + name + "'", "correct the template, or name a built-in template instead");
  }

  [[nodiscard]] statement parse_if() {
    statement result;
    result.kind = statement_kind::branch;
    next();
    for (;;) {
      expression_ptr test = parse_tuple({}, false);
      block body = parse_body({"elif", "else", "endif"});
      result.branches.emplace_back(std::move(test), std::move(body));
      if (skip_name("elif")) continue;
      if (skip_name("else"))
        result.otherwise = parse_whole_body("endif");
      else
        next();
      return result;
    }
  }

  [[nodiscard]] statement parse_for() {
    statement result;
    result.kind = statement_kind::loop;
    next();
    result.target = parse_target("in");
    expect_name("in");
    result.what = parse_tuple("recursive", false);
    if (skip_name("if")) result.test = parse_expression();
    if (is_name("recursive")) fail_unsupported("a recursive loop");
    ++loops_;
    result.body = parse_body({"else", "endfor"});
    --loops_;
    if (skip_name("else"))
      result.otherwise = parse_whole_body("endfor");
    else
      next();
    return result;
  }

  [[nodiscard]] statement parse_set() {
    statement result;
    next();
    result.target = parse_target({}, true);
    if (skip_symbol("=")) {
      result.kind = statement_kind::assign;
      result.what = parse_tuple();
      return result;
    }
    result.kind = statement_kind::assign_block;
    if (is_symbol("|")) result.what = parse_filters(nullptr, false);
    result.body = parse_whole_body("endset");
    return result;
  }

  [[nodiscard]] statement parse_with() {
    statement result;
    result.kind = statement_kind::with;
    next();
    while (!is(token_kind::block_end)) {
      if (!result.bindings.empty()) expect_symbol(",");
      expression_ptr target = parse_target();
      expect_symbol("=");
      result.bindings.emplace_back(std::move(target), parse_expression());
    }
    result.body = parse_whole_body("endwith");
    return result;
  }

  void parse_signature(macro& made) {
    expect_symbol("(");
    while (!is_symbol(")")) {
      if (!made.parameters.empty()) expect_symbol(",");
      made.parameters.push_back(take_name());
      if (skip_symbol("="))
        made.defaults.push_back(parse_expression());
      else if (!made.defaults.empty())
        fail("a parameter without a default follows one with a default");
    }
    next();
  }

  /// The body of a macro; names in it that mean further arguments are noticed.
  void parse_macro_body(macro& made, std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    const bool varargs = std::exchange(names_varargs_, false);
    const bool kwargs = std::exchange(names_kwargs_, false);
    made.body = parse_whole_body(end);
    made.uses_varargs = std::exchange(names_varargs_, varargs);
    made.uses_kwargs = std::exchange(names_kwargs_, kwargs);
    loops_ = loops;
  }

  [[nodiscard]] statement parse_macro() {
    statement result;
    result.kind = statement_kind::macro;
    next();
    auto made = std::make_shared<macro>();
    made->name = take_name();
    parse_signature(*made);
    parse_macro_body(*made, "endmacro");
    result.callee = std::move(made);
    return result;
  }

  [[nodiscard]] statement parse_call_block() {
    statement result;
    result.kind = statement_kind::call_block;
    next();
    auto made = std::make_shared<macro>();
    if (is_symbol("(")) parse_signature(*made);
    result.what = parse_expression();
    if (result.what->what != kinds::call) fail("expected a call");
    parse_macro_body(*made, "endcall");
    result.callee = std::move(made);
    return result;
  }

  /// A name, names between commas, or (with `has_spaces`) namespace.name; `end` is the word behind it.
  [[nodiscard]] expression_ptr parse_target(std::string_view end = {}, bool has_spaces = false) {
    const deeper guard(*this);
    const place at = now().at;
    const auto one = [&]() -> expression_ptr {
      if (skip_symbol("(")) {
        expression_ptr inner = parse_target({}, has_spaces);
        expect_symbol(")");
        return inner;
      }
      const place begin = now().at;
      std::string name = take_name();
      for (const char* fixed : {"true", "false", "none", "True", "False", "None"})
        if (name == fixed) fail_at(begin, "cannot assign to " + name, "choose another name");
      expression_ptr node = make(kinds::name, begin, std::move(name));
      if (!has_spaces || !skip_symbol(".")) return node;
      expression_ptr attribute = make(kinds::attribute, begin, take_name());
      adopt(*attribute, std::move(node));
      return attribute;
    };
    expression_ptr first = one();
    if (!is_symbol(",")) return first;
    expression_ptr tuple = make(kinds::tuple, at);
    adopt(*tuple, std::move(first));
    while (skip_symbol(",")) {
      if (is_name(end) || is_symbol(")") || is_symbol("=") || is(token_kind::block_end)) break;
      adopt(*tuple, one());
    }
    return tuple;
  }

  place opened_{};  // the tag that was read last
  int loops_ = 0;
  bool has_generation_ = false;
};

}  // namespace detail

LODESTONE_INLINE program parse(std::string_view source, std::string_view name) {
  return detail::parser(tokenize(source, name), name).run();
}

}  // namespace lodestone::jinja
