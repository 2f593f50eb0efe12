//! By which way everything leaves: the interface that it is bound to, the proxy, and who knows the addresses of
//! names.
//!
//! Whoever opens a socket or looks a name up is given an [`Outlet`]; there is no other way to do either. What
//! a user asks for and cannot be had is an error before anything is sent.

use std::{fmt, sync::Arc};

use super::{
    name_service::BoundResolver,
    proxy::{Proxy, ProxyError},
    resolver::{LeftToProxy, Resolver, SystemResolver},
    sockets::{Binding, BindingError},
};
use crate::proxy::{ProxyAddress, Scheme};

/// What a user may ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutletOptions {
    /// The network interface by which everything is to go.
    pub interface: Option<String>,
    /// The proxy by which everything is to go.
    pub proxy: Option<ProxyAddress>,
}

/// Why there is no way out.
#[derive(Debug, thiserror::Error)]
pub enum OutletError {
    /// There is nothing to be had of the interface.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// The proxy is not there, or does not want us.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

/// A way out. Copies are the same; the default one is what the system has.
#[derive(Clone)]
pub struct Outlet {
    binding: Binding,
    proxy: Option<Arc<Proxy>>,
    resolver: Arc<dyn Resolver>,
}

impl Outlet {
    /// The one that `options` ask for. A proxy is greeted.
    ///
    /// # Errors
    /// [`OutletError`]: it cannot be had. Nothing goes by another way instead.
    pub async fn open(options: &OutletOptions) -> Result<Self, OutletError> {
        let direct = match &options.interface {
            None => Outlet::default(),
            Some(interface) => {
                let binding = Binding::to_interface(interface)?;
                // The system's own look-up goes wherever it likes.
                let resolver = Arc::new(BoundResolver::new(binding.clone()));
                Outlet { binding, proxy: None, resolver }
            }
        };
        let Some(address) = &options.proxy else { return Ok(direct) };
        let opening = Proxy::open(address.clone(), direct.binding.clone(), &*direct.resolver);
        let proxy = Some(Arc::new(opening.await?));
        Ok(Outlet { proxy, resolver: Arc::new(LeftToProxy), ..direct })
    }

    /// The system's, but for names, which `resolver` knows.
    pub fn resolving_by(resolver: Arc<dyn Resolver>) -> Self {
        Outlet { resolver, ..Outlet::default() }
    }

    /// What opens sockets.
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// What connections go by, if not directly.
    pub const fn proxy(&self) -> Option<&Arc<Proxy>> {
        self.proxy.as_ref()
    }

    /// Whether we are behind a proxy: nobody can connect to us then, and no neighbour is talked to.
    pub const fn is_proxied(&self) -> bool {
        self.proxy.is_some()
    }

    /// Whether datagrams get out.
    pub fn carries_datagrams(&self) -> bool {
        self.proxy.as_ref().is_none_or(|proxy| proxy.address().scheme == Scheme::Socks5)
    }

    /// What knows addresses.
    pub const fn resolver(&self) -> &Arc<dyn Resolver> {
        &self.resolver
    }
}

impl Default for Outlet {
    fn default() -> Self {
        Outlet { binding: Binding::default(), proxy: None, resolver: Arc::new(SystemResolver) }
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (binding, proxy) = (&self.binding, &self.proxy);
        let mut debug = f.debug_struct("Outlet");
        debug.field("binding", binding).field("proxy", proxy).finish_non_exhaustive()
    }
}
