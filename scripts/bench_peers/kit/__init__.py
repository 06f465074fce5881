"""The tools of the benchmark: what is asked, how load is made, how processes are run, and what is told of it all."""
