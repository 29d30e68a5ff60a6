//! Stages that ask for work only when there is room behind them.
