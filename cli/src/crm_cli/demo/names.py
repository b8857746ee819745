"""What the demo company's people, customers and products are called. All of it is invented."""


def _words(text: str) -> list[str]:
    return text.split()


# Region: country and city of the accounts there, and how many people are named in which way.
REGIONS = {
    "Europe": [("DE", "Hamburg"), ("FR", "Lyon"), ("NL", "Utrecht"), ("IE", "Cork")],
    "Asia": [("CN", "上海"), ("CN", "深圳"), ("SG", "Singapore"), ("CN", "成都")],
    "Americas": [("US", "Denver"), ("US", "Boston"), ("CA", "Halifax"), ("MX", "Puebla")],
}
GIVEN_NAMES = _words(
    "Amelia Bruno Clara Daniel Elena Felix Greta Hassan Ines Jonas Katja Liam Maya Noah Olga Pablo"
    " Quinn Rosa Samir Tessa Ulla Victor Wanda Xenia Yusuf Zoe Anton Bianca Cyril Dina"
)
FAMILY_NAMES = _words(
    "Albrecht Bianchi Carvalho Dubois Eriksen Fischer Gallagher Haddad Ivanov Jansen Keller Lopez"
    " Moreau Novak Okafor Petrov Quiroga Rossi Schmidt Torres Ullman Vargas Weber Young Zimmermann"
)
# Family and given name as written, and both in letters for addresses.
CHINESE_NAMES = [
    ("王", "芳", "fang.wang"), ("李", "伟", "wei.li"), ("张", "敏", "min.zhang"),
    ("刘", "洋", "yang.liu"), ("陈", "静", "jing.chen"), ("杨", "帆", "fan.yang"),
    ("赵", "磊", "lei.zhao"), ("黄", "丽", "li.huang"), ("周", "强", "qiang.zhou"),
    ("吴", "婷", "ting.wu"), ("徐", "杰", "jie.xu"), ("孙", "悦", "yue.sun"),
    ("马", "超", "chao.ma"), ("朱", "琳", "lin.zhu"), ("胡", "军", "jun.hu"),
    ("林", "晓梅", "xiaomei.lin"), ("何", "志远", "zhiyuan.he"), ("郭", "雪", "xue.guo"),
]  # fmt: skip
COMPANY_HEADS = _words(
    "Alder Beacon Cobalt Delta Ember Falcon Granite Harbour Iris Juniper Keystone Lumen Meridian"
    " Northgate Orchard Pioneer Quartz Ridgeway Sable Tidewater Umbra Vantage Willow Yarrow Zephyr"
)
COMPANY_TAILS = _words(
    "Logistics Foods Instruments Textiles Energy Health Robotics Media Insurance Chemicals Retail"
    " Aviation Marine Software Timber"
)
# Head and tail of Chinese companies, each with its letters for addresses.
CHINESE_HEADS = [
    ("华信", "huaxin"), ("东方", "dongfang"), ("长江", "changjiang"), ("金桥", "jinqiao"),
    ("远洋", "yuanyang"), ("瑞丰", "ruifeng"), ("新纪元", "xinjiyuan"), ("蓝天", "lantian"),
]  # fmt: skip
CHINESE_TAILS = [
    ("科技有限公司", "tech"), ("贸易有限公司", "trade"), ("食品股份有限公司", "foods"),
    ("物流有限公司", "logistics"), ("医疗器械有限公司", "medical"),
]  # fmt: skip
INDUSTRIES = _words(
    "logistics food manufacturing textiles energy healthcare technology media insurance chemicals"
    " retail transport"
)
JOB_TITLES = [
    "Head of Purchasing", "Managing Director", "IT Manager", "Operations Manager",
    "Finance Director", "Office Manager", "Plant Manager", "Project Lead",
]  # fmt: skip
# Name, category, kind, list price in euros.
PRODUCTS = [
    ("Pallet Scanner S1", "Scanners", "GOOD", 1_290),
    ("Pallet Scanner S2 Pro", "Scanners", "GOOD", 2_480),
    ("Dock Terminal D4", "Terminals", "GOOD", 4_950),
    ("Dock Terminal D8", "Terminals", "GOOD", 8_700),
    ("Cold Chain Sensor Set", "Sensors", "GOOD", 640),
    ("Vibration Sensor Set", "Sensors", "GOOD", 820),
    ("Fleet Gateway G2", "Gateways", "GOOD", 3_150),
    ("Warehouse Cloud, one year", "Subscriptions", "SERVICE", 12_000),
    ("Fleet Cloud, one year", "Subscriptions", "SERVICE", 18_500),
    ("Installation Day", "Services", "SERVICE", 1_450),
    ("Operator Training", "Services", "SERVICE", 980),
    ("Premium Support, one year", "Services", "SERVICE", 5_400),
]
LOST_REASONS = ["Price", "Competitor", "No budget", "No decision", "Missing feature"]
# Subject, kind, category.
TICKETS = [
    ("Scanner does not pair with the terminal", "INCIDENT", "hardware"),
    ("Invoice shows the wrong address", "REQUEST", "billing"),
    ("How do we add a second warehouse?", "QUESTION", "usage"),
    ("Sensor readings arrive an hour late", "INCIDENT", "sensors"),
    ("Terminal display stays dark", "WARRANTY_CLAIM", "hardware"),
    ("Please send the safety data sheet", "REQUEST", "documents"),
    ("Courier was impolite to our staff", "COMPLAINT", "delivery"),
    ("Dark mode for the night shift", "SUGGESTION", "usage"),
    ("扫码枪无法连接网络", "INCIDENT", "hardware"),
    ("如何导出上个月的报表?", "QUESTION", "usage"),
]
# Name, kind, goal.
CAMPAIGNS = [
    ("Spring Fair", "EVENT", "Meet forty prospects at the logistics fair"),
    ("Cold Chain Webinar", "EVENT", "Explain the sensor set to food companies"),
    ("Scanner Trade-in", "EMAIL", "Replace scanners older than five years"),
    ("Cloud for Fleets", "AD", "Make the fleet cloud known"),
    ("Customer Newsletter", "EMAIL", "Keep customers informed"),
    ("双十一客户回馈", "MIXED", "Thank customers in Asia"),
    ("Warehouse Safety Week", "MIXED", "Show what sensors prevent"),
    ("Year-end Calls", "PHONE", "Renew support contracts in time"),
]

INTERACTIONS = (
    ("CALL", "Asked for prices"),
    ("CALL", "Next steps"),
    ("EMAIL", "Offer sent"),
    ("EMAIL", "Question about delivery"),
    ("MEETING", "Showed the product"),
    ("VISIT", "Saw their plant"),
    ("CHAT", "Opening hours"),
    ("NOTE", "New buyer from next month"),
)
TASKS = (
    "Call back",
    "Send the offer",
    "Ask how it went",
    "Prepare the visit",
    "Renew the contract",
)
