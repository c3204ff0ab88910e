// The faults that are planted in a test's copy of the core, and the number that switches one on.
// One file of each such test includes this.
#pragma once

#include "crash/planted.h"

namespace dskvs {

int planted_fault = 0;

namespace test {

constexpr struct {
  int number;
  const char* name;
  const char* breaks;
} kFaults[] = {
#include "planted_faults.inc"
};

}  // namespace test
}  // namespace dskvs
