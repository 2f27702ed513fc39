// No exception may cross into Rust.

#pragma once

#include <cstring>
#include <exception>

// Runs `action`: nullptr when it succeeded, else a message from malloc that the caller frees.
template <typename Action>
char *guarded(Action action) {
  try {
    action();
    return nullptr;
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an exception that is no std::exception");
  }
}
