//! The daemon: session state machine, its asynchronous shell, the spool, the slots.
