//! The README's examples and those of `docs/guide` are compiled and run with the documentation tests.

macro_rules! pages {
    ($($(#[$only:meta])* $name:ident = $path:literal),* $(,)?) => {
        $(
            $(#[$only])*
            #[doc = include_str!(concat!("../../../", $path))]
            struct $name;
        )*
    };
}

pages! {
    Readme = "README.md",
    AskFirst = "docs/guide/ask-first.md",
    Echo = "docs/guide/echo.md",
    FiftyConnections = "docs/guide/fifty-connections.md",
    #[cfg(feature = "stream")]
    Luggage = "docs/guide/luggage.md",
    OnceMore = "docs/guide/once-more.md",
    #[cfg(feature = "stream")]
    OneBudget = "docs/guide/one-budget.md",
    Pipelines = "docs/guide/pipelines.md",
    Semaphore = "docs/guide/semaphore.md",
    Threads = "docs/guide/threads.md",
    TryAgainLater = "docs/guide/try-again-later.md",
    WouldBlock = "docs/guide/would-block.md",
}
