"""The Vercel entry; everything else is in the package."""

from copperplate.http.lazy_app import LazyApp

app = LazyApp()
