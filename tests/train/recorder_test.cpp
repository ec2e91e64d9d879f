#include <boost/test/unit_test.hpp>

#include <memory>
#include <string>
#include <vector>

#include <lodestone/train/recorder.hpp>
#include <lodestone/train/recorders/format.hpp>

namespace {

using lodestone::evaluation_record;
using lodestone::message;
using lodestone::run_finished;
using lodestone::run_started;
using lodestone::step_record;

using event_log = std::shared_ptr<std::vector<std::string>>;

struct hears_all {
  event_log out;
  std::string name;
  void record(const run_started& e) const { out->push_back(name + " started " + e.title); }
  void record(const step_record& e) const { out->push_back(name + " step " + std::to_string(e.step)); }
  void record(const evaluation_record& e) const { out->push_back(name + " evaluation " + e.name); }
  void record(const message& e) const { out->push_back(name + " message " + e.text); }
  void record(const run_finished& e) const { out->push_back(name + " finished " + e.text); }
};

struct hears_steps {
  event_log out;
  void record(const step_record& e) { out->push_back("steps " + std::to_string(e.step + ++calls)); }
  std::int64_t calls = 0;
};

struct hears_nothing {};
struct hears_ints {
  void record(const std::vector<int>&) {}
};

template <class R>
void send_all(R& r) {
  r.record(run_started{.title = "t"});
  r.record(step_record{.step = 7});
  r.record(evaluation_record{.name = "held"});
  r.record(message{.text = "m"});
  r.record(run_finished{.text = "f"});
}

const std::vector<std::string> expected{"a started t", "a step 7",    "steps 8",      "a evaluation held",
                                        "a message m", "a finished f"};

}  // namespace

BOOST_AUTO_TEST_SUITE(train_recorder)

static_assert(lodestone::recorder<hears_all> && lodestone::recorder<hears_steps>);
static_assert(!lodestone::recorder<hears_nothing> && !lodestone::recorder<hears_ints>);
static_assert(lodestone::hears<hears_steps, step_record> && !lodestone::hears<hears_steps, message>);
// A fan-out is a recorder, so fan-outs nest.
static_assert(lodestone::recorder<lodestone::recorders<hears_all, hears_steps>>);
static_assert(lodestone::recorder<lodestone::recorders<lodestone::recorders<hears_steps>, lodestone::any_recorder>>);

BOOST_AUTO_TEST_CASE(the_fan_out_passes_each_event_to_those_that_hear_it_in_order) {
  const event_log out = std::make_shared<std::vector<std::string>>();
  lodestone::recorders both{hears_all{out, "a"}, hears_steps{out}};
  send_all(both);
  BOOST_TEST(*out == expected, boost::test_tools::per_element());
  BOOST_TEST(both.get<1>().calls == 1);  // parts are held by value and keep their state
}

BOOST_AUTO_TEST_CASE(the_erased_list_does_what_the_fan_out_does) {
  const event_log out = std::make_shared<std::vector<std::string>>();
  lodestone::recorder_list list;
  list.add(hears_all{out, "a"});
  list.add(hears_steps{out});
  send_all(list);
  BOOST_TEST(*out == expected, boost::test_tools::per_element());
  BOOST_TEST(list.size() == 2U);
}

BOOST_AUTO_TEST_CASE(empty_recorders_record_nothing) {
  lodestone::recorders none{};
  send_all(none);
  lodestone::recorder_list list;
  send_all(list);
  BOOST_TEST(list.size() == 0U);
}

BOOST_AUTO_TEST_CASE(rates) {
  BOOST_TEST((step_record{.tokens = 1000, .seconds = 4.0}.tokens_per_second()) == 250.0);
  BOOST_TEST((step_record{.tokens = 1000, .seconds = 0.0}.tokens_per_second()) == 0.0);
}

BOOST_AUTO_TEST_CASE(numbers_as_people_read_them) {
  using namespace lodestone;
  BOOST_TEST(format_number(2e-5) == "2e-05");
  BOOST_TEST(format_number(12.25) == "12.25");
  BOOST_TEST(format_number(0.0 / 0.0 * -1.0) == "nan");
  BOOST_TEST(format_number(-1.0 / 0.0) == "-inf");
  BOOST_TEST(format_fixed(1.05584, 4) == "1.0558");
  BOOST_TEST(format_exact(0.1) == "0.1");
  BOOST_TEST(format_count(0) == "0");
  BOOST_TEST(format_count(-999) == "-999");
  BOOST_TEST(format_count(-1234) == "-1,234");
  BOOST_TEST(format_count(123) == "123");
  BOOST_TEST(format_count(1234567) == "1,234,567");
  BOOST_TEST(format_short(999.4) == "999");
  BOOST_TEST(format_short(999.6) == "1k");
  BOOST_TEST(format_short(13050) == "13.1k");
  BOOST_TEST(format_short(6738415616.0) == "6.74B");
  BOOST_TEST(format_short(1e18) == "1e+06T");
  BOOST_TEST(format_bytes(512) == "512 B");
  BOOST_TEST(format_bytes(1536) == "1.5 KiB");
  BOOST_TEST(format_duration(0.44) == "0.4s");
  BOOST_TEST(format_duration(9.96) == "10s");
  BOOST_TEST(format_duration(59.6) == "1:00");
  BOOST_TEST(format_duration(185) == "3:05");
  BOOST_TEST(format_duration(3723) == "1:02:03");
  BOOST_TEST(format_duration(2 * 86400 + 3 * 3600 + 4 * 60) == "2d 03:04");
  BOOST_TEST(format_duration(-1) == "?");
}

BOOST_AUTO_TEST_SUITE_END()
