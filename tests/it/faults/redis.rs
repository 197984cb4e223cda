//! Redis lost, slow, restarted, failing over, replying late.
