// Which sanitizers this build has: they take memory and time of their own.
#pragma once

#ifndef __has_feature
#define __has_feature(name) 0  // gcc's names are below
#endif
namespace dskvs::test {

#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kAddressSanitizer = true;
#else
inline constexpr bool kAddressSanitizer = __has_feature(address_sanitizer);
#endif
#ifdef __SANITIZE_THREAD__
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = __has_feature(thread_sanitizer);
#endif

}  // namespace dskvs::test
