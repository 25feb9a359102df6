//! The wire path as a Python module.
use pyo3::prelude::*;

#[pymodule]
fn _wire(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
