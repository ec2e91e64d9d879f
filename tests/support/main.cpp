// The entry point of every test executable; Boost.Test returns the number of failures as a non-zero exit code.
#define BOOST_TEST_MODULE lodestone
#include <boost/test/unit_test.hpp>
