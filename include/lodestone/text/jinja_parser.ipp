// Definition of jinja_syntax.hpp's parse(): included by it, or compiled once into lodestone::compiled. More than 400
// lines, because the grammar is one class.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <initializer_list>
#include <string_view>

#include <lodestone/core/inline.hpp>
#include <lodestone/text/jinja_syntax.hpp>

namespace lodestone::jinja {

namespace detail {

/// Recursive descent over the tokens, in Jinja's order of precedence.
class parser {
 public:
  parser(std::vector<token> tokens, std::string_view name) : tokens_(std::move(tokens)), name_(name) {}

  program run() {
    program result;
    result.name = name_;
    result.body = parse_block({});
    result.has_generation = has_generation_;
    return result;
  }

 private:
  using kinds = expression_kind;

  // Trees are bounded, so that nothing that walks them needs more stack than it has.
  static constexpr std::int32_t deepest_tree = 150;

  struct deeper {
    explicit deeper(parser& owner) : owner(owner) {
      if (++owner.depth_ > deepest_tree) owner.fail("expressions or blocks nest too deep");
    }
    ~deeper() { --owner.depth_; }
    deeper(const deeper&) = delete;
    deeper& operator=(const deeper&) = delete;
    parser& owner;
  };

  // --- Tokens

  [[nodiscard]] const token& now() const { return tokens_[at_]; }
  [[nodiscard]] const token& after() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void next() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  [[nodiscard]] bool is(token_kind what) const { return now().what == what; }
  [[nodiscard]] bool is_symbol(std::string_view text) const {
    return now().what == token_kind::symbol && now().text == text;
  }
  [[nodiscard]] bool is_name(std::string_view text) const {
    return now().what == token_kind::name && now().text == text;
  }
  bool skip_symbol(std::string_view text) {
    if (!is_symbol(text)) return false;
    next();
    return true;
  }
  bool skip_name(std::string_view text) {
    if (!is_name(text)) return false;
    next();
    return true;
  }

  [[noreturn]] void fail(const std::string& what, std::string_view remedy = "correct the template") const {
    fail_at(now().at, what, remedy);
  }
  [[noreturn]] void fail_at(place at, const std::string& what, std::string_view remedy) const {
    throw template_error(what, describe(name_, at), remedy);
  }
  [[noreturn]] void fail_unsupported(const std::string& what) const {
    fail(what + " is not supported in chat templates", "name a built-in template instead");
  }

  [[nodiscard]] std::string shown() const {
    switch (now().what) {
      case token_kind::end: return "the end of the template";
      case token_kind::block_end: return "%}";
      case token_kind::variable_end: return "}}";
      case token_kind::string: return "a string";
      default: return "'" + now().text + "'";
    }
  }
  void expect_symbol(std::string_view text) {
    if (!skip_symbol(text)) fail("expected '" + std::string(text) + "', found " + shown());
  }
  void expect_name(std::string_view text) {
    if (!skip_name(text)) fail("expected '" + std::string(text) + "', found " + shown());
  }
  void expect(token_kind what, std::string_view text) {
    if (!is(what)) fail("expected " + std::string(text) + ", found " + shown());
    next();
  }
  [[nodiscard]] std::string take_name() {
    if (!is(token_kind::name)) fail("expected a name, found " + shown());
    std::string name = now().text;
    next();
    return name;
  }

  // --- Nodes

  [[nodiscard]] expression_ptr make(kinds what, place at, std::string name = {}) const {
    auto node = std::make_unique<expression>();
    node->what = what;
    node->at = at;
    node->name = std::move(name);
    return node;
  }
  void adopt(expression& parent, expression_ptr child) const {
    if (child) {
      parent.depth = std::max(parent.depth, child->depth + 1);
      if (parent.depth > deepest_tree) fail("the expression is too long");
    }
    parent.parts.push_back(std::move(child));
  }
  [[nodiscard]] expression_ptr make(kinds what, place at, std::string name, expression_ptr left,
                                    expression_ptr right) const {
    expression_ptr node = make(what, at, std::move(name));
    adopt(*node, std::move(left));
    adopt(*node, std::move(right));
    return node;
  }

  // --- Statements

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

  // --- Expressions

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

  std::vector<token> tokens_;
  std::string name_;
  std::size_t at_ = 0;
  place opened_{};  // the tag that was read last
  std::int32_t depth_ = 0;
  int loops_ = 0;
  bool names_varargs_ = false;
  bool names_kwargs_ = false;
  bool has_generation_ = false;
};

}  // namespace detail

LODESTONE_INLINE program parse(std::string_view source, std::string_view name) {
  return detail::parser(tokenize(source, name), name).run();
}

}  // namespace lodestone::jinja
