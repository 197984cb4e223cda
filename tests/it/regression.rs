//! One test for each bug that was found, named for what went wrong.
