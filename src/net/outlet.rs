//! By which way everything leaves: the interface that it is bound to, and who knows the addresses of names.
//!
//! Whoever opens a socket or looks a name up is given an [`Outlet`]; there is no other way to do either. What
//! a user asks for and cannot be had is an error before anything is sent.

use std::{fmt, sync::Arc};

use super::{
    name_service::BoundResolver,
    resolver::{Resolver, SystemResolver},
    sockets::{Binding, BindingError},
};

/// What a user may ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutletOptions {
    /// The network interface by which everything is to go.
    pub interface: Option<String>,
}

/// Why there is no way out.
#[derive(Debug, thiserror::Error)]
pub enum OutletError {
    /// There is nothing to be had of the interface.
    #[error(transparent)]
    Binding(#[from] BindingError),
}

/// A way out. Copies are the same; the default one is what the system has.
#[derive(Clone)]
pub struct Outlet {
    binding: Binding,
    resolver: Arc<dyn Resolver>,
}

impl Outlet {
    /// The one that `options` ask for.
    ///
    /// # Errors
    /// [`OutletError`]: it cannot be had. Nothing goes by another way instead.
    pub fn open(options: &OutletOptions) -> Result<Self, OutletError> {
        let Some(interface) = &options.interface else { return Ok(Outlet::default()) };
        let binding = Binding::to_interface(interface)?;
        // The system's own look-up goes wherever it likes.
        let resolver = Arc::new(BoundResolver::new(binding.clone()));
        Ok(Outlet { binding, resolver })
    }

    /// The system's, but for names, which `resolver` knows.
    pub fn resolving_by(resolver: Arc<dyn Resolver>) -> Self {
        Outlet { resolver, ..Outlet::default() }
    }

    /// What opens sockets.
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// What knows addresses.
    pub const fn resolver(&self) -> &Arc<dyn Resolver> {
        &self.resolver
    }
}

impl Default for Outlet {
    fn default() -> Self {
        Outlet { binding: Binding::default(), resolver: Arc::new(SystemResolver) }
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("binding", &self.binding).finish_non_exhaustive()
    }
}
