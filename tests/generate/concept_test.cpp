// The seam between what answers prompts and what asks: an answerer of ten lines stands for a model.
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/generate/concept.hpp>

namespace generate = lodestone::generate;

namespace {

/// Says what was asked; refuses conversations.
struct parrot {
  void generate(std::span<const generate::request> requests, const generate::answer_listener& each) {
    for (std::size_t i = requests.size(); i-- > 0;) {
      generate::answer a;
      if (const auto* text = std::get_if<std::string>(&requests[i].prompt))
        a.text = *text;
      else
        a = {.why = generate::finish::failed, .error = "knows no conversations"};
      each(i, std::move(a));
    }
  }
  static std::string name() { return "parrot"; }
};
static_assert(generate::generator<parrot>);

struct without_name {
  void generate(std::span<const generate::request>, const generate::answer_listener&) {}
};
static_assert(!generate::generator<without_name>);
static_assert(!generate::generator<int>);

}  // namespace

BOOST_AUTO_TEST_SUITE(generate_concept)

BOOST_AUTO_TEST_CASE(any_generator_does_what_the_model_behind_it_does) {
  parrot model;
  generate::any_generator any(model);
  std::vector<generate::request> requests(3);
  requests[0].prompt = std::string("a");
  requests[1].prompt = std::vector<lodestone::chat_message>{{.content = "hello"}};
  requests[2].prompt = std::string("c");
  std::vector<generate::answer> answers(3);
  std::vector<int> heard(3);
  any.generate(requests, [&](std::size_t i, generate::answer&& a) {
    answers[i] = std::move(a);
    ++heard[i];
  });
  BOOST_TEST(heard == std::vector<int>(3, 1), boost::test_tools::per_element());
  BOOST_TEST(answers[0].text == "a");
  BOOST_TEST(answers[2].text == "c");
  BOOST_TEST(generate::to_string(answers[1].why) == "failed");
  BOOST_TEST(any.name() == "parrot");
}

BOOST_AUTO_TEST_SUITE_END()
