# Two commands do everything: `make demo` and `make test`. Both set up what they need first.
.PHONY: help setup demo test test-slow matrix lint fuzz bench lock clean
ARGS ?=

help:
	@echo "make demo            set up, then watch plugtap on a virtual EV and EVSE  (ARGS=\"--for 45\" ends by itself)"
	@echo "make test            set up, then lint, type check and tests              (ARGS=\"-k slac\" chooses)"
	@echo "make setup           the virtual environment .venv with .venv/bin/plugtap"
	@echo "make matrix          every scenario of the bench under every kind of tap (several minutes)"
	@echo "make test-slow       the long tests too    make fuzz   mutate inputs for minutes    make bench  measure"

setup:
	@tools/setup run

demo: setup
	@.venv/bin/plugtap demo $(ARGS)

test:
	@tools/setup test
	@tools/lint
	@.venv/bin/python -m pytest $(ARGS)

test-slow:
	@tools/setup test
	@.venv/bin/python -m pytest -m "slow or not slow" $(ARGS)

matrix:
	@tools/setup test
	@.venv/bin/python tools/bench_matrix $(ARGS)

lint:
	@tools/setup test
	@tools/lint

fuzz:
	@tools/setup test
	@tools/fuzz $(ARGS)

bench:
	@tools/setup test
	@tools/bench $(ARGS)

lock:
	@tools/setup test
	@{ sed -n '/^#/p' requirements.lock; .venv/bin/pip freeze --exclude-editable; } > requirements.lock.new && mv requirements.lock.new requirements.lock

clean:
	rm -rf .venv build dist *.egg-info
