// Which fault of plant.py is planted now; 0: none. Only the copies of the core's sources that
// plant.py makes ask.
#pragma once

namespace dskvs {

extern int planted_fault;
inline bool planted(int number) { return planted_fault == number; }

}  // namespace dskvs
