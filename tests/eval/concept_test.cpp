// The seam between benchmarks and what runs them: tasks of a few lines model it, and what lacks a part does not.
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/eval/concept.hpp>

namespace eval = lodestone::eval;

namespace {

struct echo_task {
  static std::string name() { return "echo"; }
  static std::size_t size() { return 1; }
  static eval::question ask(std::size_t) { return {.id = "0", .prompt = "say yes"}; }
  static std::vector<eval::score> mark(std::size_t, std::string_view answer) {
    return {{.metric = "exact_match", .value = answer == "yes" ? 1.0 : 0.0}};
  }
};
static_assert(eval::task<echo_task> && !eval::judged_task<echo_task>);

struct rated_task {
  static std::string name() { return "rated"; }
  static std::size_t size() { return 1; }
  static eval::question ask(std::size_t) { return {.id = "0", .prompt = "write"}; }
  static std::vector<lodestone::chat_message> judge(std::size_t, std::string_view answer, std::int64_t) {
    return {{.content = "Rate this: " + std::string(answer)}};
  }
  static std::optional<double> rating(std::string_view reply) {
    return reply == "1" ? std::optional<double>(1.0) : std::nullopt;
  }
  static std::vector<eval::score> marks(std::size_t, double rating) { return {{.metric = "rating", .value = rating}}; }
};
static_assert(eval::judged_task<rated_task> && !eval::task<rated_task>);
static_assert(!eval::task<int>);

}  // namespace

BOOST_AUTO_TEST_SUITE(eval_concept)

BOOST_AUTO_TEST_CASE(records_are_compared_member_by_member) {
  const eval::record a{.id = "1", .labels = {{"length", "8k"}}, .scores = echo_task::mark(0, "yes"), .answer = "yes"};
  eval::record b = a;
  BOOST_TEST((a == b));
  b.scores = echo_task::mark(0, "no");
  BOOST_TEST((a != b));
}

BOOST_AUTO_TEST_SUITE_END()
