#include <lodestone/optim/schedule.hpp>

#include <cmath>
#include <string>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include "support/support.hpp"

using namespace lodestone;

BOOST_AUTO_TEST_SUITE(optim_schedule)

BOOST_AUTO_TEST_CASE(curves_equal_transformers) {
  const auto cases = nlohmann::json::parse(
      lodestone_test::read_file(lodestone_test::data("schedules") / "schedules.json"))["cases"];
  BOOST_TEST(cases.size() == 18U);
  for (const nlohmann::json& test : cases) {
    const std::string kind = test["kind"];
    const optim::schedule schedule = kind == "linear"   ? optim::linear()
                                     : kind == "cosine" ? optim::cosine()
                                                        : optim::constant();
    for (const nlohmann::json& pair : test["values"]) {
      BOOST_TEST_CONTEXT(test.dump().substr(0, 60) << " at " << pair[0]) {
        BOOST_TEST(std::abs(schedule.curve(pair[0], test["warmup"], test["points"]) - pair[1].get<double>()) < 1e-14);
      }
    }
  }
}

// The learning rates that LongAlign's published training logs show: 2e-5, warm-up over 3% of the steps, rounded up.
BOOST_AUTO_TEST_CASE(warm_up_equals_the_logs_of_longalign) {
  const optim::schedule schedule = optim::cosine(0.03);
  BOOST_TEST(schedule.warmup(1956) == 59);
  BOOST_TEST(schedule.warmup(1832) == 55);
  const auto rate = [&](std::int64_t step, std::int64_t total) { return 2e-5 * schedule.factor(step, total); };
  BOOST_TEST(std::abs(rate(1, 1956) - 3.38983e-07) < 5e-13);
  BOOST_TEST(std::abs(rate(4, 1956) - 1.35593e-06) < 5e-12);
  BOOST_TEST(std::abs(rate(5, 1956) - 1.69492e-06) < 5e-12);
  BOOST_TEST(std::abs(rate(7, 1832) - 2.54545e-06) < 5e-12);
}

BOOST_AUTO_TEST_CASE(no_step_of_a_run_has_a_rate_of_zero) {
  for (const optim::schedule& schedule : {optim::constant(0.03), optim::linear(0.03), optim::cosine(0.03),
                                          optim::cosine(), optim::linear(1.0)})
    for (const std::int64_t total : {1, 2, 30, 1000})
      for (std::int64_t step = 1; step <= total; ++step) {
        BOOST_TEST(schedule.factor(step, total) > 0.0);
        BOOST_TEST(schedule.factor(step, total) <= 1.0);
      }
}

BOOST_AUTO_TEST_CASE(a_floor_is_where_the_decline_ends) {
  optim::schedule schedule = optim::cosine();
  schedule.floor = 0.1;
  BOOST_TEST(std::abs(schedule.curve(100, 0, 100) - 0.1) < 1e-15);
  BOOST_TEST(schedule.curve(0, 0, 100) == 1.0);
  BOOST_TEST(std::abs(schedule.curve(50, 0, 100) - 0.55) < 1e-15);
}

BOOST_AUTO_TEST_CASE(settings_out_of_range_are_refused) {
  BOOST_CHECK_THROW(static_cast<void>(optim::cosine(1.5).warmup(10)), config_error);
  BOOST_CHECK_THROW(static_cast<void>(optim::cosine(-0.1).warmup(10)), config_error);
  BOOST_CHECK_THROW(static_cast<void>(optim::cosine().factor(0, 10)), config_error);
  optim::schedule explicit_steps = optim::linear(0.5);
  explicit_steps.warmup_steps = 3;
  BOOST_TEST(explicit_steps.warmup(100) == 3);
}

BOOST_AUTO_TEST_SUITE_END()
