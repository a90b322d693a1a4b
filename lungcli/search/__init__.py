"""The search for the best compromises: what to try, where a study is kept, one trial, and the work of all."""
