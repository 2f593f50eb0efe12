//! Options of every command that sends anything: by which way.

use clap::Args;

use crate::session::ProxyAddress;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Network")]
pub(in crate::cli) struct Outlet {
    /// Send and receive by this network interface alone, names included; nothing while it is away
    #[arg(long, value_name = "IF", global = true)]
    pub(in crate::cli) bind_interface: Option<String>,

    /// Connect by this proxy alone, which looks up all names too: socks5://[USER:PASSWORD@]HOST:PORT or
    /// http://…; nothing when it is away
    #[arg(long, value_name = "URL", global = true)]
    pub(in crate::cli) proxy: Option<ProxyAddress>,
}
